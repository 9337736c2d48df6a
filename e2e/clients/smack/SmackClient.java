// One Smack, told what to do and telling what it saw in JSON lines.
//
// The first line on stdin is its configuration: jid, password, host, port, ca (a PEM file) and store (a folder for roster
// versions). Each further line is a command. What the client sees goes to stdout, an event a line; what it says of contacts is
// what Smack's Roster has. ../../client_test.go has the words of both.

import java.io.BufferedReader;
import java.io.File;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;
import org.jivesoftware.smack.ConnectionConfiguration.SecurityMode;
import org.jivesoftware.smack.ConnectionListener;
import org.jivesoftware.smack.SmackConfiguration;
import org.jivesoftware.smack.XMPPConnection;
import org.jivesoftware.smack.filter.StanzaTypeFilter;
import org.jivesoftware.smack.packet.IQ;
import org.jivesoftware.smack.packet.Message;
import org.jivesoftware.smack.packet.Presence;
import org.jivesoftware.smack.roster.Roster;
import org.jivesoftware.smack.roster.RosterEntry;
import org.jivesoftware.smack.roster.RosterListener;
import org.jivesoftware.smack.roster.packet.RosterPacket;
import org.jivesoftware.smack.roster.rosterstore.DirectoryRosterStore;
import org.jivesoftware.smack.roster.rosterstore.RosterStore;
import org.jivesoftware.smack.sasl.SASLErrorException;
import org.jivesoftware.smack.tcp.XMPPTCPConnection;
import org.jivesoftware.smack.tcp.XMPPTCPConnectionConfiguration;
import org.jivesoftware.smackx.carbons.CarbonManager;
import org.jivesoftware.smackx.mam.MamManager;
import org.jivesoftware.smackx.ping.PingManager;
import org.jxmpp.jid.Jid;
import org.jxmpp.jid.impl.JidCreate;

public final class SmackClient implements RosterListener {
    private final XMPPTCPConnection connection;
    private final Roster roster;

    private SmackClient(Map<String, String> config) throws Exception {
        connection = new XMPPTCPConnection(XMPPTCPConnectionConfiguration.builder()
                .setXmppAddressAndPassword(config.get("jid"), config.get("password"))
                .setHost(config.get("host")).setPort(Integer.parseInt(config.get("port")))
                .setSecurityMode(SecurityMode.required)
                .setCustomX509TrustManager(trust(config.get("ca")))
                .setSendPresence(false)
                .build());
        connection.setUseStreamManagement(true);
        connection.setUseStreamManagementResumption(true);
        connection.addConnectionListener(new ConnectionListener() {
            @Override
            public void authenticated(XMPPConnection c, boolean resumed) {
                emit("online", "jid", connection.getUser(), "mechanism", connection.getUsedSaslMechansism(),
                        "type", resumed ? "resumed" : "");
            }

            @Override
            public void connectionClosed() {
                emit("closed");
                System.exit(0);
            }
        });
        roster = Roster.getInstanceFor(connection);
        roster.setRosterStore(store(new File(config.get("store"))));
        roster.addRosterListener(this);
        connection.addSyncStanzaListener(stanza -> emit("whole", "body", ((RosterPacket) stanza).getVersion()),
                stanza -> stanza instanceof RosterPacket && ((IQ) stanza).getType() == IQ.Type.result);
        connection.addSyncStanzaListener(stanza -> on((Message) stanza), StanzaTypeFilter.MESSAGE);
        CarbonManager.getInstanceFor(connection).addCarbonCopyReceivedListener((direction, copy, wrapping) ->
                emit("copy", "type", direction, "from", copy.getFrom(), "to", copy.getTo(), "body", copy.getBody()));
    }

    /** store is a folder with one hand in it at a time: Smack itself may read a file that it is just writing. */
    private static RosterStore store(File folder) {
        DirectoryRosterStore old = DirectoryRosterStore.open(folder);
        RosterStore store = old != null ? old : DirectoryRosterStore.init(folder);
        return (RosterStore) Proxy.newProxyInstance(SmackClient.class.getClassLoader(), new Class<?>[] {RosterStore.class},
                (proxy, method, arguments) -> {
                    synchronized (store) {
                        return method.invoke(store, arguments);
                    }
                });
    }

    private static X509TrustManager trust(String ca) throws Exception {
        KeyStore keys = KeyStore.getInstance(KeyStore.getDefaultType());
        keys.load(null, null);
        try (FileInputStream pem = new FileInputStream(ca)) {
            keys.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(keys);
        return (X509TrustManager) factory.getTrustManagers()[0];
    }

    private void connect() throws Exception {
        try {
            connection.connect().login();
        } catch (SASLErrorException e) {
            emit("auth-failed", "condition", e.getSASLFailure().getSASLError());
            connection.disconnect();
        }
    }

    private void on(Message m) {
        emit("message", "from", m.getFrom(), "type", m.getType(), "body", m.getBody(),
                "condition", m.getError() == null ? null : m.getError().getCondition());
    }

    private static String item(RosterEntry e) {
        return object("jid", e.getJid(), "name", e.getName(), "subscription", e.getType(),
                "groups", e.getGroups().stream().map(g -> g.getName()).sorted().collect(Collectors.toList()));
    }

    @Override
    public void entriesAdded(Collection<Jid> addresses) {
        for (Jid address : addresses) {
            emitRaw("push", item(roster.getEntry(address.asBareJid())));
        }
    }

    @Override
    public void entriesUpdated(Collection<Jid> addresses) {
        entriesAdded(addresses);
    }

    @Override
    public void entriesDeleted(Collection<Jid> addresses) {
        for (Jid address : addresses) {
            emit("push", "jid", address, "subscription", "remove");
        }
    }

    @Override
    public void presenceChanged(Presence p) {
        emit("presence", "from", p.getFrom(), "type", p.isAvailable() ? "" : p.getType(), "status", p.getStatus());
    }

    @Override
    public void ownPresenceChanged(Presence p) {
        presenceChanged(p);
    }

    private void execute(Map<String, String> command) throws Exception {
        switch (command.get("do")) {
            case "roster":
                if (!roster.isLoaded()) {
                    roster.reloadAndWait();
                }
                System.out.println("{\"event\":\"roster\",\"items\":["
                        + roster.getEntries().stream().map(SmackClient::item).collect(Collectors.joining(",")) + "]}");
                break;
            case "presence":
                connection.sendStanza(connection.getStanzaFactory().buildPresenceStanza()
                        .ofType(Presence.Type.available).setStatus(command.get("status")).build());
                break;
            case "message":
                connection.sendStanza(connection.getStanzaFactory().buildMessageStanza().to(JidCreate.from(command.get("to")))
                        .ofType(Message.Type.chat).setBody(command.get("body")).build());
                break;
            case "carbons":
                CarbonManager.getInstanceFor(connection).enableCarbons();
                emit("carbons-done");
                break;
            case "archive":
                MamManager archive = MamManager.getInstanceFor(connection);
                if (!archive.isSupported()) { // which it has to be asked before it is used
                    throw new IllegalStateException("no archive");
                }
                List<Message> messages = archive.queryMostRecentPage(JidCreate.from(command.get("to")), 10).getMessages();
                emit("archive", "bodies", messages.stream().map(Message::getBody).collect(Collectors.toList()));
                break;
            case "cut": // the network goes, and comes back
                connection.instantShutdown();
                connect();
                break;
            case "ping":
                PingManager.getInstanceFor(connection).pingMyServer();
                emit("pong");
                break;
            case "quit":
                connection.disconnect();
                break;
            default:
                throw new IllegalArgumentException(command.get("do"));
        }
    }

    private static synchronized void emitRaw(String event, String members) {
        System.out.println("{\"event\":\"" + event + "\"," + members.substring(1));
    }

    private static void emit(String event, Object... members) {
        emitRaw(event, object(members).replace("{}", "{\"at\":\"\"}"));
    }

    /** object is JSON of names and values, which are lists of strings or texts; without those that are null. */
    private static String object(Object... members) {
        StringBuilder b = new StringBuilder();
        for (int i = 0; i < members.length; i += 2) {
            Object value = members[i + 1];
            if (value == null) {
                continue;
            }
            String text = value instanceof List
                    ? ((List<?>) value).stream().map(SmackClient::quote).collect(Collectors.joining(",", "[", "]"))
                    : quote(value);
            b.append(b.length() == 0 ? "" : ",").append(quote(members[i])).append(':').append(text);
        }
        return "{" + b + "}";
    }

    private static String quote(Object value) {
        return '"' + value.toString().replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n").replace("\t", "\\t") + '"';
    }

    private static final Pattern MEMBER = Pattern.compile("\"(\\w+)\":(?:\"((?:[^\"\\\\]|\\\\.)*)\"|(\\w+))");

    /** parse reads an object of strings, numbers and booleans. */
    private static Map<String, String> parse(String line) {
        Map<String, String> members = new HashMap<>();
        for (Matcher m = MEMBER.matcher(line); m.find();) {
            members.put(m.group(1), m.group(3) != null ? m.group(3) : m.group(2).replaceAll("\\\\(.)", "$1"));
        }
        return members;
    }

    public static void main(String[] args) throws Exception {
        SmackConfiguration.setDefaultReplyTimeout(60_000); // the library's own 5 s are short for a busy machine
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        SmackClient client = new SmackClient(parse(in.readLine()));
        client.connect();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            client.execute(parse(line));
        }
    }
}
