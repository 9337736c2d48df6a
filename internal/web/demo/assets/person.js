// A person who is signed in: a connection, the contact list that the server keeps up to date, and the conversations.
// Nothing here is shown; pane.js listens to what changes.

import { Chats } from './chats.js';
import { bare, Roster } from './roster.js';
import { child, Client, el, NS } from './xmpp.js';

const FAREWELL = 900; // ms that a removed contact stays to be seen going

// Person announces itself by events:
//   'change'  something to be shown is different
//   'contact' a contact has changed; detail is {jid, name, kind: 'added' | 'changed' | 'removed'}
export class Person extends EventTarget {
  #client;
  #leaving = new Map(); // bare JID → item of a contact that was removed a moment ago

  constructor({ id, jid, name, url, show = 'available', status = '' }) {
    super();
    Object.assign(this, { id, jid, name, show, status });
    this.connection = 'stopped'; // as Client reports it
    this.trouble = ''; // why it is not online
    this.listed = false; // a contact list has been seen, and may be relied upon
    this.listTrouble = ''; // why the contact list has not come
    this.roster = new Roster();
    this.chats = new Chats();
    this.#client = new Client({
      url,
      jid,
      password: 'any will do', // the demo's host takes every password
      on: {
        status: (status, error) => this.#connected(status, error),
        message: (stanza) => this.#message(stanza),
        presence: (stanza) => this.#presence(stanza),
        set: (payload, stanza) => this.#push(payload, stanza),
      },
    });
  }

  start() {
    this.#client.start();
  }

  stop() {
    this.#client.stop();
  }

  hurry() {
    this.#client.hurry();
  }

  // setShow changes one's own presence; 'offline' signs out.
  setShow(show) {
    const before = this.show;
    this.show = show;
    this.status = '';
    if (show === 'offline') this.stop();
    else if (before === 'offline') this.start();
    else this.#sendPresence();
    this.#changed();
  }

  // say sends a message; false when there is no connection.
  say(to, text) {
    const id = this.#client.newID();
    const sent = this.#client.send(el(NS.client, 'message', { to, id, type: 'chat' }, el(NS.client, 'body', {}, text)));
    if (sent) {
      this.chats.add(to, { id, mine: true, text, at: Date.now() });
      this.#changed();
    }
    return sent;
  }

  // read marks a conversation as read.
  read(jid) {
    if (this.chats.read(jid)) this.#changed();
  }

  // groups gives the contact list as it is shown. Whoever writes without being a contact has a place at the end.
  groups() {
    const groups = this.roster.groups([...this.#leaving.values()]);
    const others = this.chats.partners().filter((jid) => !this.roster.get(jid) && !this.#leaving.has(jid));
    if (others.length) {
      groups.push({ name: 'Not in contacts', items: others.map((jid) => ({ jid, name: '', groups: [], stranger: true })) });
    }
    return groups;
  }

  // isLeaving says whether a contact is shown only for its farewell.
  isLeaving(jid) {
    return this.#leaving.has(jid);
  }

  #connected(status, error) {
    this.connection = status;
    this.trouble = error?.message ?? '';
    if (status === 'online') {
      this.#fetchList();
      this.#sendPresence();
    } else {
      this.roster.forgetPresence();
    }
    this.#changed();
  }

  async #fetchList() {
    try {
      const result = await this.#client.ask('get', el(NS.roster, 'query'));
      const query = child(result, 'query', NS.roster);
      const first = !this.listed;
      const changes = query ? this.roster.reset([...query.children].map(readItem)) : [];
      this.#listArrived();
      if (!first) changes.forEach(({ jid, kind }) => this.#announce(jid, kind));
    } catch (error) {
      // What was known stays. The server sends the list as pushes once it has it.
      this.listTrouble = error.message;
    }
    this.#changed();
  }

  #listArrived() {
    this.listed = true;
    this.listTrouble = '';
  }

  // push takes a roster push (RFC 6121 section 2.1.6): one item, from one's own account and nobody else.
  #push(payload, stanza) {
    const item = payload && child(payload, 'item', NS.roster);
    if (payload?.localName !== 'query' || !item || !this.#client.isOwn(stanza.getAttribute('from'))) return false;
    const { jid } = readItem(item);
    const old = this.roster.get(jid);
    const removed = item.getAttribute('subscription') === 'remove';
    const kind = removed ? this.roster.remove(jid) : this.roster.set(readItem(item));
    if (kind === 'removed') this.#farewell(old);
    this.#listArrived();
    if (kind) this.#announce(jid, kind, old);
    this.#changed();
    return true;
  }

  #farewell(item) {
    this.#leaving.set(item.jid, item);
    setTimeout(() => {
      this.#leaving.delete(item.jid);
      this.#changed();
    }, FAREWELL);
  }

  #announce(jid, kind, old) {
    if (kind === 'added') this.#leaving.delete(jid);
    const name = this.roster.get(jid)?.name || old?.name || this.roster.name(jid);
    this.dispatchEvent(new CustomEvent('contact', { detail: { jid, name, kind } }));
  }

  #message(stanza) {
    const from = bare(stanza.getAttribute('from') ?? this.jid);
    const type = stanza.getAttribute('type');
    if (type === 'error') {
      const condition = child(stanza, 'error')?.firstElementChild?.localName ?? 'error';
      this.chats.fail(from, stanza.getAttribute('id'), REASONS[condition] ?? `not delivered (${condition})`);
      this.#changed();
      return;
    }
    const text = child(stanza, 'body')?.textContent;
    if (!text || type === 'groupchat' || type === 'headline') return;
    this.chats.add(from, { id: stanza.getAttribute('id'), mine: false, text, at: Date.now() });
    this.#changed();
  }

  #presence(stanza) {
    const from = stanza.getAttribute('from');
    const type = stanza.getAttribute('type');
    if (!from || bare(from) === this.jid || (type && type !== 'unavailable')) return;
    this.roster.presence(from, {
      show: type === 'unavailable' ? 'offline' : readShow(stanza),
      status: child(stanza, 'status')?.textContent ?? '',
      priority: Number.parseInt(child(stanza, 'priority')?.textContent ?? '0', 10) || 0,
    });
    this.#changed();
  }

  #sendPresence() {
    const presence = el(NS.client, 'presence');
    if (this.show !== 'available') presence.append(el(NS.client, 'show', {}, this.show));
    if (this.status) presence.append(el(NS.client, 'status', {}, this.status));
    this.#client.send(presence);
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}

// What the usual errors mean to somebody who has just sent a message.
const REASONS = {
  'service-unavailable': 'not delivered: nobody is there',
  'recipient-unavailable': 'not delivered: nobody is there',
  'item-not-found': 'not delivered: no such address',
  'remote-server-not-found': 'not delivered: no such address',
  'policy-violation': 'not delivered: too large',
};

function readItem(item) {
  return {
    jid: item.getAttribute('jid') ?? '',
    name: item.getAttribute('name') ?? '',
    groups: [...item.children].filter((c) => c.localName === 'group').map((c) => c.textContent),
  };
}

function readShow(presence) {
  const show = child(presence, 'show')?.textContent;
  return ['away', 'chat', 'dnd', 'xa'].includes(show) ? show : 'available';
}
