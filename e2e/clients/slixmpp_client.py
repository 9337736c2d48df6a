"""One slixmpp client, told what to do and telling what it saw in JSON lines.

The first line on stdin is its configuration: jid, password, host, port, ca (a PEM file), direct
(TLS from the first byte instead of STARTTLS), and cert and key (PEM files) if it has a certificate. Each further line is a command. What the client sees
goes to stdout, an event a line. ../client_test.go has the words of both.
"""

import asyncio
import base64
import hashlib
import json
import sys

from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.plugins.xep_0048.stanza import Bookmarks
from slixmpp.plugins.xep_0402 import stanza as bookmarks
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

ROSTER = "{jabber:iq:roster}"
BOOKMARKS = "urn:xmpp:bookmarks:1"
ROOM = "orchard@conference.shakespeare.lit"


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def items(iq):
    """The items of a roster IQ as they stand on the wire, not as slixmpp keeps them."""
    return [
        {
            "jid": el.get("jid"),
            "name": el.get("name", ""),
            "groups": sorted(g.text or "" for g in el.findall(ROSTER + "group")),
            "subscription": el.get("subscription", "none"),
        }
        for el in iq.xml.findall(f"{ROSTER}query/{ROSTER}item")
    ]


def jids(items):
    return sorted(str(item["jid"]) for item in items)


class Client(ClientXMPP):
    def __init__(self, config):
        super().__init__(config["jid"], config["password"])
        self.config = config
        self.over = asyncio.get_event_loop().create_future()
        self.known = {}  # the roster as results and pushes have it (RFC 6121 section 2.6)
        self.auto_authorize = None
        self.auto_subscribe = False
        self.register_plugin("xep_0077", {"force_registration": False})
        self.register_plugin("xep_0191")
        self.register_plugin("xep_0199")
        self.register_plugin("xep_0280")
        if config.get("pep"):  # it says what it wants to hear of in its presence, and answers who asks for that
            self.register_plugin("xep_0115")
            self.register_plugin("xep_0163")
            self.register_plugin("xep_0118")
            self.add_event_handler("user_tune_publish", self.on_tune)
            self.register_plugin("xep_0054")
            self.register_plugin("xep_0084")
            self.add_event_handler("avatar_metadata_publish", self.on_avatar)
        if config.get("photos"):  # it knows avatars of vCards alone
            self.register_plugin("xep_0153")
        if config.get("register"):  # it makes its account before it signs in
            self.add_event_handler("register", self.on_register)
        if config.get("admin"):
            self.register_plugin("xep_0133")
        if config.get("archive"):
            self.register_plugin("xep_0313")
            self.register_plugin("xep_0359")
            self.register_plugin("xep_0441")
        if config.get("keeps"):  # what its user's other clients, and this one when it comes back, are to find
            self.register_plugin("xep_0048", {"auto_join": False})
            self.register_plugin("xep_0049")
            self.register_plugin("xep_0054")
            self.register_plugin("xep_0223")
            self.plugin["xep_0223"].node_profiles[BOOKMARKS] = {"pubsub#max_items": "max", "pubsub#send_last_published_item": "never"}
            bookmarks.register_plugin()  # those of XEP-0402
        self.ca_certs = config["ca"]
        self.certfile, self.keyfile = config.get("cert"), config.get("key")
        self.enable_direct_tls = config["direct"]
        self.enable_starttls = not config["direct"]
        self.enable_plaintext = False

        self.add_event_handler("session_start", self.on_start)
        self.add_event_handler("failed_auth", lambda s: emit("auth-failed", condition=s["condition"]))
        self.add_event_handler("failed_all_auth", lambda _: self.end())
        self.add_event_handler("stream_error", lambda s: emit("stream-error", condition=s["condition"]))
        self.add_event_handler("disconnected", lambda _: self.end())
        self.add_event_handler("message", self.on_message)
        self.add_event_handler("message_error", self.on_message)
        self.add_event_handler("presence", self.on_presence)
        self.add_event_handler("carbon_sent", lambda msg: self.on_copy("sent", msg["carbon_sent"]))
        self.add_event_handler("carbon_received", lambda msg: self.on_copy("received", msg["carbon_received"]))
        self.add_event_handler("blocked", lambda iq: emit("blocked", jids=jids(iq["block"])))
        self.add_event_handler("unblocked", lambda iq: emit("unblocked", jids=jids(iq["unblock"])))
        self.register_handler(Callback("push", StanzaPath("iq@type=set/roster"), self.on_push))

    def end(self):
        if not self.over.done():
            self.over.set_result(None)

    def on_start(self, _):
        emit(
            "online",
            jid=self.boundjid.full,
            mechanism=self.plugin["feature_mechanisms"].mech.name,
            tls=self.socket.version(),
        )

    async def on_register(self, form):
        """The fields that the server asks for are here; they are sent back filled in."""
        iq = self.Iq()
        iq["type"] = "set"
        iq["register"]["username"] = self.boundjid.user
        iq["register"]["password"] = self.password
        fields = sorted(form["register"].get_fields())
        try:
            await iq.send()
            emit("registered", jids=fields)
        except IqError as e:
            emit("not-registered", type=e.etype, condition=e.condition)
            self.disconnect()

    def on_message(self, msg):
        emit("message", **{"from": msg["from"].full}, type=msg["type"], body=msg["body"],
             condition=msg["error"]["condition"] if msg["type"] == "error" else "")

    def on_copy(self, kind, msg):
        emit("copy", **{"from": msg["from"].full}, to=msg["to"].full, type=kind, body=msg["body"])

    def on_presence(self, pres):
        show = pres.xml.find("{jabber:client}show")
        emit("presence", **{"from": pres["from"].full}, type=pres.xml.get("type", ""),
             show="" if show is None else show.text or "", status=pres["status"],
             photo=pres.xml.findtext("{vcard-temp:x:update}x/{vcard-temp:x:update}photo", ""))

    def on_tune(self, msg):
        for title in msg.xml.iter("{http://jabber.org/protocol/tune}title"):
            emit("tune", **{"from": msg["from"].full}, body=title.text)

    def on_avatar(self, msg):
        for info in msg.xml.iter("{urn:xmpp:avatar:metadata}info"):
            emit("avatar", **{"from": msg["from"].full}, body=info.get("id"), type=info.get("type"))

    async def picture(self, jid):
        """The hashes of a user's picture: in the vCard, and in the nodes of avatars."""
        card = (await self.plugin["xep_0054"].get_vcard(jid, cached=False))["vcard_temp"]["PHOTO"]["BINVAL"]
        seen = hashlib.sha1(card).hexdigest()
        data = (await self.plugin["xep_0084"].retrieve_avatar(jid, seen))["pubsub"]["items"]["item"]["avatar_data"]["value"]
        return [seen, hashlib.sha1(data).hexdigest()]

    async def publish_avatar(self, picture):
        avatars = self.plugin["xep_0084"]
        await avatars.publish_avatar(picture)
        await avatars.publish_avatar_metadata({"id": avatars.generate_id(picture), "type": "image/png", "bytes": len(picture)})

    def on_push(self, iq):
        for item in items(iq):
            self.take(item)
            emit("push", **item)

    def take(self, item):
        if item["subscription"] == "remove":
            self.known.pop(item["jid"], None)
        else:
            self.known[item["jid"]] = item

    def take_result(self, iq):
        """A result without items says that the version that slixmpp has asked with is the last (slixmpp itself adds a query)."""
        if items(iq):
            self.known = {}
        for item in items(iq):
            self.take(item)

    async def keep(self, name):
        """Have a name kept by each way in which a server keeps something: vCard, private XML, private PEP node."""
        card = self.plugin["xep_0054"].make_vcard()
        card["FN"] = name
        await self.plugin["xep_0054"].publish_vcard(card)
        old = Bookmarks()
        old.add_conference(ROOM, "nick", name=name)
        await self.plugin["xep_0049"].store(old)
        new = bookmarks.Conference()
        new["name"] = name
        await self.plugin["xep_0223"].store(new, BOOKMARKS, ROOM)

    async def kept(self):
        """What keep has had kept."""
        card = await self.plugin["xep_0054"].get_vcard(self.boundjid.bare, cached=False)
        old = await self.plugin["xep_0049"].retrieve("bookmarks")
        new = await self.plugin["xep_0223"].retrieve(BOOKMARKS)
        return [card["vcard_temp"]["FN"], *(c["name"] for c in old["private"]["bookmarks"]["conferences"]),
                *(item["conference"]["name"] for item in new["pubsub"]["items"])]

    async def archive(self, with_jid, reverse):
        """What the archive has, in pages of three; and once more in what it says of itself."""
        pages = self.plugin["xep_0313"].iterate(with_jid=with_jid, reverse=reverse, rsm={"max": 3})
        texts, ids = [], []
        async for result in pages:
            texts.append(result["mam_result"]["forwarded"]["stanza"]["body"])
            ids.append(result["mam_result"]["id"])
        ends = (await self.plugin["xep_0313"].get_archive_metadata())["mam_metadata"]
        return texts, ids, [ends["start"]["id"], ends["end"]["id"]]

    async def administer(self, name, fields):
        """Executes a command of XEP-0133 as slixmpp has it: each form is filled in with fields, and completed."""
        adhoc, over = self.plugin["xep_0050"], asyncio.get_running_loop().create_future()

        def proceed(iq, session):
            if iq["command"]["status"] == "completed":
                over.set_result((iq["command"]["status"], [text for _, text in iq["command"]["notes"]]))
                return
            form = iq["command"]["form"]
            form.reply()
            form["values"] = fields
            session["payload"] = form
            adhoc.complete_command(session)

        def fail(iq, session):
            over.set_result((iq["error"]["condition"], []))
            adhoc.terminate_command(session)

        getattr(self.plugin["xep_0133"], name.replace("-", "_"))(session={"next": proceed, "error": fail})
        return await over

    async def do(self, command):
        match command["do"]:
            case "roster":
                try:
                    self.take_result(await self.get_roster())
                    emit("roster", items=list(self.known.values()))
                except IqError as e:
                    emit("roster-error", type=e.etype, condition=e.condition)
                except IqTimeout:
                    emit("roster-error", type="none", condition="no answer")
            case "presence":
                self.send_presence(pshow=command.get("show"), pstatus=command.get("status"))
            case "message":
                self.send_message(mto=command["to"], mbody=command["body"], mtype="chat")
            case "carbons":
                await self.plugin["xep_0280"].enable()
                emit("carbons-done")
            case "archive":
                texts, ids, ends = await self.archive(command.get("to"), command.get("show") == "reverse")
                emit("archive", bodies=texts, jids=ids, ends=ends)
            case "prefer":
                answer = await self.plugin["xep_0441"].set_preferences(default=command["body"], never=set(command["jids"]))
                emit("prefer-done", body=answer["mam_prefs"]["default"], jids=sorted(map(str, answer["mam_prefs"]["never"])))
            case "tune":
                await self.plugin["xep_0118"].publish_tune(title=command["body"])
                emit("tune-done")
            case "avatar":
                await self.publish_avatar(base64.b64decode(command["body"]))
                emit("avatar-done")
            case "photo":
                await self.plugin["xep_0153"].set_avatar(avatar=base64.b64decode(command["body"]), mtype="image/png")
                emit("photo-done")
            case "picture":
                emit("picture", jids=await self.picture(command["to"]))
            case "keep":
                await self.keep(command["body"])
                emit("keep-done")
            case "kept":
                emit("kept", jids=await self.kept())
            case "blocklist":
                emit("blocklist", jids=sorted(map(str, await self.plugin["xep_0191"].get_blocked_jids())))
            case "block":
                await self.plugin["xep_0191"].block(command["jids"])
                emit("block-done")
            case "password":
                await self.plugin["xep_0077"].change_password(command["body"], jid=self.boundjid.domain)
                emit("password-done")
            case "commands":
                items = await self.plugin["xep_0133"].get_commands()
                emit("commands", jids=sorted(node for _, node, _ in items["disco_items"]["items"]))
            case "administer":
                status, notes = await self.administer(command["body"], command.get("fields", {}))
                emit("administered", body=command["body"], condition=status, jids=notes)
            case "cancel":
                await self.plugin["xep_0077"].cancel_registration()
                emit("cancel-done")
            case "unblock":
                await self.plugin["xep_0191"].unblock(command["jids"])
                emit("unblock-done")
            case "ping":
                await self.plugin["xep_0199"].ping(jid=self.boundjid.domain)
                emit("pong")
            case "quit":
                self.disconnect()

    async def commands(self, reader):
        async with asyncio.TaskGroup() as tasks:  # one command may wait for an answer while the next is given
            while line := await reader.readline():
                tasks.create_task(self.do(json.loads(line)))


async def main():
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    config = json.loads(await reader.readline())
    client = Client(config)
    client.connect(config["host"], config["port"])
    commands = asyncio.create_task(client.commands(reader))
    await asyncio.wait([client.over, commands], return_when=asyncio.FIRST_COMPLETED)
    if commands.done() and commands.exception():
        raise commands.exception()
    await client.over
    emit("closed")


asyncio.run(main())
