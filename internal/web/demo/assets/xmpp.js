// A small XMPP client for browsers: XMPP over WebSocket (RFC 7395), SASL PLAIN (RFC 4616), resource binding
// (RFC 6120 section 7), and a connection that comes back by itself. It knows streams, stanzas and IQ answers; rosters and
// chats are in person.js.
//
// Text becomes XML, and XML text, only through the browser's own DOMParser and XMLSerializer.

export const NS = {
  client: 'jabber:client',
  framing: 'urn:ietf:params:xml:ns:xmpp-framing',
  streams: 'http://etherx.jabber.org/streams',
  sasl: 'urn:ietf:params:xml:ns:xmpp-sasl',
  bind: 'urn:ietf:params:xml:ns:xmpp-bind',
  stanzas: 'urn:ietf:params:xml:ns:xmpp-stanzas',
  roster: 'jabber:iq:roster',
  ping: 'urn:xmpp:ping',
};

const NEGOTIATION = 15_000; // ms from connecting to online, else the attempt has failed
const ANSWER = 40_000; // ms to wait for the answer to an IQ
const BACKOFF = [500, 1000, 2000, 4000, 8000]; // ms between attempts, about; the last one repeats

// A document that only serves to create elements.
let factory = null;

// el creates an element: el(NS.client, 'message', {to}, el(NS.client, 'body', {}, 'Hello')). Attributes that are
// undefined are left out; text loses the characters that XML cannot carry.
export function el(ns, name, attributes = {}, ...children) {
  factory ??= document.implementation.createDocument(null, null);
  const element = factory.createElementNS(ns, name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) element.setAttribute(key, carriable(value));
  }
  element.append(...children.map((child) => (typeof child === 'string' ? carriable(child) : child)));
  return element;
}

// child finds a child element by name and namespace; null when there is none.
export function child(element, name, ns = NS.client) {
  for (const c of element.children) {
    if (c.localName === name && c.namespaceURI === ns) return c;
  }
  return null;
}

// carriable drops what is no character in XML 1.0 (section 2.2): most control characters, lone surrogates, U+FFFE, U+FFFF.
export function carriable(text) {
  return text.replace(/[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu, '');
}

// StanzaError is the error that answered an IQ, or failed a connection.
export class StanzaError extends Error {
  constructor(condition, type = 'cancel', text = '') {
    super(text || condition);
    this.condition = condition;
    this.type = type;
  }

  // of reads the <error/> of a stanza of type error.
  static of(stanza) {
    const error = child(stanza, 'error');
    const parts = [...(error?.children ?? [])].filter((c) => c.namespaceURI === NS.stanzas);
    const text = parts.find((c) => c.localName === 'text')?.textContent ?? '';
    const condition = parts.find((c) => c.localName !== 'text')?.localName ?? 'undefined-condition';
    return new StanzaError(condition, error?.getAttribute('type') ?? 'cancel', text);
  }
}

// Frames is what a WebSocket receives, as a queue of elements to wait for.
class Frames {
  #queue = [];
  #waiting = null;
  #end = null;

  constructor(socket) {
    socket.addEventListener('message', ({ data }) => {
      const element = parse(data);
      if (!element) return;
      this.#queue.push(element);
      this.#serve();
    });
    socket.addEventListener('close', ({ reason }) => {
      this.#end = new Error(reason || 'the connection was closed');
      this.#serve();
    });
  }

  // next resolves to the next element; it rejects when the connection has ended.
  next() {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#serve();
    });
  }

  #serve() {
    if (!this.#waiting || !(this.#queue.length || this.#end)) return;
    const { resolve, reject } = this.#waiting;
    this.#waiting = null;
    if (this.#queue.length) resolve(this.#queue.shift());
    else reject(this.#end);
  }
}

// parse reads one frame, which is one element (RFC 7395 section 3.3); null when it is none. Browsers tell of bad XML by an
// element in the result, which a stanza could hold as well, so a bad frame is skipped rather than the end of the stream.
function parse(data) {
  const doc = typeof data === 'string' ? new DOMParser().parseFromString(data, 'text/xml') : null;
  return !doc || doc.getElementsByTagName('parsererror').length ? null : doc.documentElement;
}

// Client keeps one user signed in until it is stopped.
//
//   new Client({url, jid: 'alice@localhost', password, on: {
//     status(status, error) {},  // 'connecting', 'online', 'waiting' (for the next attempt), 'stopped'
//     message(stanza) {},
//     presence(stanza) {},
//     set(payload, stanza) {},   // an IQ set from the server or another user; true: done, it is answered with a result
//   }})
export class Client {
  #url;
  #password;
  #on;
  #socket = null; // the connection of now; an older one that still winds down finds another here
  #answers = new Map(); // id → {resolve, reject, timer} of IQs under way
  #attempts = 0; // since it was last online
  #retry = 0; // the timer of the next attempt
  #ids = 0;

  constructor({ url, jid, password, on }) {
    this.#url = url;
    this.#password = password;
    this.#on = on;
    this.account = jid; // the bare JID
    this.jid = ''; // the full JID, while online
    this.status = 'stopped';
  }

  // start signs in, and in again whenever the connection is lost.
  start() {
    if (this.status !== 'stopped') return;
    this.#attempts = 0;
    this.#run();
  }

  // hurry makes the next attempt now, for when the network is back.
  hurry() {
    if (this.status !== 'waiting') return;
    clearTimeout(this.#retry);
    this.#run();
  }

  // stop signs out.
  stop() {
    clearTimeout(this.#retry);
    const socket = this.#socket;
    this.#socket = null;
    if (this.status === 'online') {
      transmit(socket, el(NS.client, 'presence', { type: 'unavailable' }));
      transmit(socket, el(NS.framing, 'close'));
    }
    socket?.close();
    this.#ended('stopped');
  }

  // send sends a stanza; false when there is no connection to send it on.
  send(stanza) {
    if (this.status !== 'online') return false;
    transmit(this.#socket, stanza);
    return true;
  }

  // ask sends an IQ to one's own account and resolves to the result, or rejects with a StanzaError.
  ask(type, payload) {
    return new Promise((resolve, reject) => {
      const id = this.newID();
      if (!this.send(el(NS.client, 'iq', { type, id }, payload))) {
        reject(new StanzaError('service-unavailable', 'wait', 'not connected'));
        return;
      }
      const timer = setTimeout(() => this.#settle(id)?.reject(new StanzaError('remote-server-timeout', 'wait')), ANSWER);
      this.#answers.set(id, { resolve, reject, timer });
    });
  }

  // newID makes an id for a stanza.
  newID() {
    this.#ids += 1;
    return `r${this.#ids}-${Math.random().toString(36).slice(2, 8)}`;
  }

  // run is one connection, from the first byte to the last, and then plans the next.
  async #run() {
    this.#report('connecting');
    const socket = new WebSocket(this.#url, 'xmpp');
    const frames = new Frames(socket);
    const late = setTimeout(() => socket.close(), NEGOTIATION);
    this.#socket = socket;
    let failure;
    try {
      await new Promise((resolve, reject) => {
        socket.addEventListener('open', resolve);
        socket.addEventListener('close', () => reject(new Error('the server cannot be reached')));
      });
      this.jid = await this.#signIn(socket, frames);
      clearTimeout(late);
      if (socket !== this.#socket) return;
      this.#attempts = 0;
      this.#report('online');
      for (;;) {
        const stanza = await frames.next();
        if (socket !== this.#socket) return;
        this.#receive(stanza);
      }
    } catch (error) {
      failure = error;
    } finally {
      clearTimeout(late);
      socket.close();
    }
    if (socket !== this.#socket) return; // stopped, or started anew, meanwhile
    this.#socket = null;
    if (failure.condition === 'not-authorized') {
      this.#ended('stopped', failure); // the same password will not do better next time
      return;
    }
    const pause = BACKOFF[Math.min(this.#attempts, BACKOFF.length - 1)];
    this.#attempts += 1;
    this.#retry = setTimeout(() => this.#run(), pause * (0.75 + Math.random() / 2));
    this.#ended('waiting', failure);
  }

  // signIn negotiates the stream and resolves to the full JID.
  async #signIn(socket, frames) {
    const [user, domain] = this.account.split('@');
    await openStream(socket, frames, domain);
    const plain = new TextEncoder().encode(`\0${user}\0${this.#password}`);
    transmit(socket, el(NS.sasl, 'auth', { mechanism: 'PLAIN' }, btoa(String.fromCharCode(...plain))));
    const outcome = await frames.next();
    if (outcome.localName !== 'success') {
      throw new StanzaError(outcome.firstElementChild?.localName ?? 'sign-in failed', 'auth');
    }
    await openStream(socket, frames, domain);
    transmit(socket, el(NS.client, 'iq', { type: 'set', id: 'bind' }, el(NS.bind, 'bind')));
    const bound = await frames.next();
    if (bound.getAttribute('type') !== 'result') throw StanzaError.of(bound);
    return child(child(bound, 'bind', NS.bind), 'jid', NS.bind).textContent;
  }

  #receive(stanza) {
    if (stanza.namespaceURI === NS.framing || stanza.namespaceURI === NS.streams) {
      const why = stanza.localName === 'error' ? stanza.firstElementChild?.localName : '';
      throw new Error(why || 'the server closed the stream');
    }
    switch (stanza.localName) {
      case 'message':
        this.#on.message(stanza);
        break;
      case 'presence':
        this.#on.presence(stanza);
        break;
      case 'iq':
        this.#receiveIQ(stanza);
        break;
    }
  }

  #receiveIQ(iq) {
    const [type, id, from] = ['type', 'id', 'from'].map((name) => iq.getAttribute(name) ?? undefined);
    if (type === 'result' || type === 'error') {
      if (!this.isOwn(from)) return; // nobody else was asked
      const answer = this.#settle(id);
      if (type === 'result') answer?.resolve(iq);
      else answer?.reject(StanzaError.of(iq));
      return;
    }
    const payload = iq.firstElementChild;
    const known =
      (type === 'get' && payload?.localName === 'ping' && payload.namespaceURI === NS.ping) ||
      (type === 'set' && this.#on.set(payload, iq));
    this.send(
      known
        ? el(NS.client, 'iq', { type: 'result', id, to: from })
        : el(NS.client, 'iq', { type: 'error', id, to: from },
            el(NS.client, 'error', { type: 'cancel' }, el(NS.stanzas, 'service-unavailable'))),
    );
  }

  // isOwn says whether a stanza comes from one's own account: the server speaking for it, or its domain.
  isOwn(from) {
    return !from || from === this.account || from === this.jid || from === this.account.split('@')[1];
  }

  // settle takes an IQ off the list of those under way.
  #settle(id) {
    const answer = this.#answers.get(id);
    this.#answers.delete(id);
    clearTimeout(answer?.timer);
    return answer;
  }

  #ended(status, error) {
    this.jid = '';
    this.#report(status, error);
    for (const id of [...this.#answers.keys()]) {
      this.#settle(id).reject(new StanzaError('service-unavailable', 'wait', 'the connection was lost'));
    }
  }

  #report(status, error) {
    this.status = status;
    this.#on.status(status, error);
  }
}

// openStream opens a stream, the first or the one after sign-in, and resolves to its features.
async function openStream(socket, frames, domain) {
  transmit(socket, el(NS.framing, 'open', { to: domain, version: '1.0' }));
  for (const expected of ['open', 'features']) {
    const frame = await frames.next();
    if (frame.localName !== expected) {
      throw new Error(frame.firstElementChild?.localName ?? `the server answered with <${frame.localName}/>`);
    }
  }
}

function transmit(socket, element) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(new XMLSerializer().serializeToString(element));
}
