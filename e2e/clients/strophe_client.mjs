// One strophe.js, told what to do and telling what it saw in JSON lines.
//
// The first line on stdin is its configuration: jid, password and service (http://, https://, ws:// or wss://), whether to
// come back when the session is lost (reconnect), and the one mechanism to use, by strophe.js's name for it (mechanism). Each
// further line is a command. What the client sees goes to stdout, an event a line. ../client_test.go has the words of both.

import { createInterface } from "node:readline";
import { webcrypto } from "node:crypto";
import { XMLHttpRequest } from "./xhr.mjs";

globalThis.crypto ??= webcrypto; // COMPAT: Node.js 18
globalThis.XMLHttpRequest = XMLHttpRequest;
const { Strophe, $iq, $msg, $pres } = await import("strophe.js");

Strophe.setLogLevel(Strophe.LogLevel.WARN);

const emit = (event, fields) => console.log(JSON.stringify({ event, ...fields }));
const children = (el, name) => [...el.childNodes].filter((n) => n.nodeType === 1 && (!name || n.nodeName === name));
const text = (el, name) => children(el, name)[0]?.textContent ?? "";
const attr = (el, name) => el.getAttribute(name) ?? "";

const items = (iq) =>
  children(children(iq, "query")[0], "item").map((el) => ({
    jid: attr(el, "jid"),
    name: attr(el, "name"),
    groups: children(el, "group").map((g) => g.textContent).sort(),
    subscription: attr(el, "subscription") || "none",
  }));

const condition = (el) => (attr(el, "type") === "error" ? children(children(el, "error")[0])[0]?.nodeName : "") ?? "";

function handlers(conn) {
  conn.addHandler((el) => {
    emit("message", { from: attr(el, "from"), type: attr(el, "type"), body: text(el, "body"), condition: condition(el) });
    return true;
  }, null, "message");
  conn.addHandler((el) => {
    emit("presence", { from: attr(el, "from"), type: attr(el, "type"), show: text(el, "show"), status: text(el, "status") });
    return true;
  }, null, "presence");
  conn.addHandler((el) => {
    items(el).forEach((item) => emit("push", item));
    conn.send($iq({ type: "result", id: attr(el, "id") }));
    return true;
  }, "jabber:iq:roster", "iq", "set");
}

function start({ jid, password, service, reconnect, mechanism: only }) {
  const conn = new Strophe.Connection(service, only ? { mechanisms: [Strophe[only]] } : {});
  let mechanism = "";
  let leaving = false;
  conn.rawOutput = (data) => (mechanism = /<auth [^>]*mechanism="([^"]+)"/.exec(data)?.[1] ?? mechanism);
  const connect = () => conn.connect(jid, password, (status, reason, failure) => {
    switch (status) {
      case Strophe.Status.CONNECTED:
        handlers(conn);
        emit("online", { jid: conn.jid, mechanism, tls: "" });
        break;
      case Strophe.Status.AUTHFAIL:
        emit("auth-failed", { condition: reason ?? (failure && children(failure)[0]?.nodeName) });
        break;
      case Strophe.Status.ERROR:
      case Strophe.Status.CONNFAIL:
        if (reason) emit("stream-error", { condition: reason });
        break;
      case Strophe.Status.DISCONNECTED:
        if (reconnect && !leaving) setTimeout(connect, 100);
        else {
          emit("closed");
          process.exit();
        }
    }
  });
  conn.leave = () => {
    leaving = true;
    conn.disconnect("bye");
  };
  connect();
  return conn;
}

const commands = {
  roster: (conn) =>
    conn.sendIQ($iq({ type: "get" }).c("query", { xmlns: "jabber:iq:roster" }),
      (el) => emit("roster", { items: items(el) }),
      (el) => emit("roster-error", { type: attr(children(el, "error")[0], "type"), condition: condition(el) })),
  presence(conn, { show, status }) {
    const p = $pres();
    if (show) p.c("show").t(show).up();
    if (status) p.c("status").t(status).up();
    conn.send(p);
  },
  message: (conn, { to, body }) => conn.send($msg({ to, type: "chat" }).c("body").t(body)),
  ping: (conn) =>
    conn.sendIQ($iq({ type: "get", to: Strophe.getDomainFromJid(conn.jid) }).c("ping", { xmlns: "urn:xmpp:ping" }),
      () => emit("pong")),
  quit: (conn) => conn.leave(),
};

let conn;
for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  if (conn) commands[message.do](conn, message);
  else conn = start(message);
}
