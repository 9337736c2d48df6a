// One @xmpp/client, told what to do and telling what it saw in JSON lines.
//
// The first line on stdin is its configuration: jid, password, service (xmpp://, xmpps:// or wss://), and whether to come back
// when the connection is lost (reconnect). Each further line is a command. What the client sees goes to stdout, an event a line.
// ../client_test.go has the words of both.

import { webcrypto } from "node:crypto";
import { createInterface } from "node:readline";
import { client, jid, xml } from "@xmpp/client";
import WebSocket from "ws";

globalThis.crypto ??= webcrypto; // COMPAT: Node.js 18
globalThis.WebSocket ??= WebSocket; // COMPAT: Node.js before 22

const emit = (event, fields) => console.log(JSON.stringify({ event, ...fields }));
const text = (el, name) => el.getChildText(name) ?? "";

const end = () => {
  emit("closed");
  process.exit();
};

const items = (query) =>
  query.getChildren("item").map((el) => ({
    jid: el.attrs.jid,
    name: el.attrs.name ?? "",
    groups: el.getChildren("group").map((g) => g.getText()).sort(),
    subscription: el.attrs.subscription ?? "none",
  }));

function start(config) {
  const me = jid(config.jid);
  const xmpp = client({
    service: config.service,
    domain: me.domain,
    username: me.local,
    password: config.password,
    timeout: 60_000, // ms for each step of signing in; the library's own 2 s are short for a busy machine
  });
  let mechanism = "";
  let leaving = !config.reconnect;

  if (leaving) xmpp.reconnect.stop();
  xmpp.on("send", (el) => {
    if (el.is("auth") || el.is("authenticate")) mechanism = el.attrs.mechanism;
  });
  xmpp.on("error", (err) => {
    if (err.name === "SASLError") emit("auth-failed", { condition: err.condition });
    else if (err.name === "StreamError") emit("stream-error", { condition: err.condition });
    else console.error(err);
  });
  const online = (type) => {
    // A WebSocket does not show its TLS; that it is there was the client's condition to connect.
    const tls = xmpp.socket.socket?.getProtocol?.() ?? xmpp.socket.getProtocol?.() ?? "";
    emit("online", { jid: xmpp.jid.toString(), mechanism, tls, type });
  };
  xmpp.on("online", () => online(""));
  xmpp.streamManagement.on("resumed", () => online("resumed"));
  xmpp.on("disconnect", () => leaving && end());
  xmpp.leave = () => {
    leaving = true;
    xmpp.stop();
  };
  xmpp.on("stanza", (el) => {
    const common = { from: el.attrs.from, type: el.attrs.type ?? "" };
    if (el.is("message")) copies(el).forEach((copy) => emit("copy", copy));
    if (el.is("message")) emit("message", { ...common, body: text(el, "body"), condition: condition(el) });
    if (el.is("presence")) emit("presence", { ...common, show: text(el, "show"), status: text(el, "status") });
  });
  xmpp.iqCallee.set("jabber:iq:roster", "query", ({ element }) => {
    items(element).forEach((item) => emit("push", item));
    return true;
  });
  xmpp.start().catch((err) => {
    if (err.name !== "SASLError") console.error(err); // that one was an "error" event before
    if (leaving) end();
  });
  return xmpp;
}

const CARBONS = "urn:xmpp:carbons:2";

// copies are the messages in a copy (XEP-0280), of which the library knows nothing.
const copies = (el) =>
  ["sent", "received"].flatMap((type) => {
    const message = el.getChild(type, CARBONS)?.getChild("forwarded", "urn:xmpp:forward:0")?.getChild("message", "jabber:client");
    return message ? [{ from: message.attrs.from, to: message.attrs.to, type, body: text(message, "body") }] : [];
  });

const condition = (el) => (el.attrs.type === "error" ? el.getChild("error")?.getChildElements()[0]?.name : "") ?? "";

const commands = {
  async roster(xmpp) {
    try {
      emit("roster", { items: items(await xmpp.iqCaller.get(xml("query", "jabber:iq:roster"))) });
    } catch (err) {
      emit("roster-error", { type: err.type ?? "none", condition: err.condition ?? String(err) });
    }
  },
  presence: (xmpp, { show, status }) =>
    xmpp.send(xml("presence", {}, show && xml("show", {}, show), status && xml("status", {}, status))),
  message: (xmpp, { to, body }) => xmpp.send(xml("message", { to, type: "chat" }, xml("body", {}, body))),
  async carbons(xmpp) {
    await xmpp.iqCaller.set(xml("enable", CARBONS));
    emit("carbons-done");
  },
  async ping(xmpp) {
    await xmpp.iqCaller.request(xml("iq", { type: "get", to: xmpp.jid.domain }, xml("ping", "urn:xmpp:ping")));
    emit("pong");
  },
  cut: (xmpp) => xmpp.socket.socket.terminate(), // a WebSocket of ws
  quit: (xmpp) => xmpp.leave(),
};

let xmpp;
for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  if (xmpp) commands[message.do](xmpp, message); // not awaited: the next command may come before the answer
  else xmpp = start(message);
}
