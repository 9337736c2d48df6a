// A chat window: shows one of the people, whoever is chosen, and lets the visitor act for them.

import { fromTemplate, make, setChildren, setData, setText, slots } from './dom.js';
import { clock, flash, setFace } from './look.js';
import { local } from './roster.js';

const PRESENCE = {
  available: 'available',
  chat: 'free to chat',
  away: 'away',
  xa: 'away for long',
  dnd: 'do not disturb',
  offline: 'offline',
};

const NEWS = { added: 'was added', changed: 'has changed', removed: 'was removed' };

export class Pane {
  #root;
  #at;
  #people; // Map of id → Person, all who may be shown
  #person;
  #choose; // called with an id when the visitor wants to see another person
  #open = new Map(); // person's id → bare JID of the conversation that is open
  #drafts = new Map(); // person's id and conversation → what was typed and not sent
  #rows = new Map(); // key → element of the contact list
  #shown = ''; // the conversation whose messages are in the DOM
  #messages = []; // their elements, by position
  #news = new Map(); // person's id → the last change of their list
  #scheduled = false;
  appMode = 'on'; // whether the application answers; the page knows, a chat client would not
  preferred = () => ''; // the bare JID to talk to first, if it is a contact

  constructor(root, people, choose) {
    this.#root = root;
    this.#people = people;
    this.#choose = choose;
    root.append(document.getElementById('pane').content.cloneNode(true));
    this.#at = slots(root);
    this.#buildPeople();
    this.#listen();
    for (const person of people.values()) {
      person.addEventListener('change', () => this.render());
      person.addEventListener('contact', ({ detail }) => this.#contactChanged(person, detail));
    }
  }

  get person() {
    return this.#person;
  }

  // show makes this the window of a person.
  show(person) {
    this.#saveDraft();
    this.#person = person;
    this.#shown = '';
    this.#rows.clear();
    setData(this.#root, { person: person.id });
    this.#root.setAttribute('aria-label', `${person.name}'s chat window`);
    this.#loadDraft();
    this.render();
  }

  // render brings the window up to date, once for all that changes at a time.
  render() {
    if (this.#scheduled || !this.#person) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#renderHead();
      this.#renderContacts();
      this.#renderChat();
      this.#renderFoot();
    });
  }

  // visible says whether the window can be seen: in a narrow one it may be behind a tab.
  get visible() {
    return this.#root.offsetParent !== null && !document.hidden;
  }

  // --- building and listening

  #buildPeople() {
    const name = `person-${this.#root.dataset.pane}`;
    for (const { id, name: full } of this.#people.values()) {
      const input = make('input', { type: 'radio', name, value: id });
      input.dataset.action = 'person';
      const face = make('span', { className: 'avatar' });
      setFace(face, id, full);
      const badge = make('span', { className: 'badge' });
      const label = make('label', { title: full }, input, face, badge, make('span', { className: 'visually-hidden', textContent: full }));
      this.#at.people.append(label);
    }
  }

  #listen() {
    const root = this.#root;
    root.addEventListener('change', ({ target }) => {
      if (target.dataset.action === 'person') this.#choose(target.value);
      if (target.dataset.action === 'presence') this.#person.setShow(target.value);
    });
    this.#at.contacts.addEventListener('click', ({ target }) => {
      const row = target.closest('[data-jid]');
      if (row) this.#select(row);
    });
    this.#at.contacts.addEventListener('keydown', (event) => this.#key(event));
    this.#at.composer.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#field.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
  }

  get #field() {
    return this.#root.querySelector('[data-action="compose"]');
  }

  // key moves through the contact list; the conversation follows. Enter goes on to the text field.
  #key(event) {
    const rows = [...this.#at.contacts.querySelectorAll('[data-jid]')];
    const now = rows.indexOf(document.activeElement);
    const target = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (event.key === 'Enter') this.#field.focus();
    else if (target === undefined) return;
    else this.#select(rows[Math.max(0, Math.min(target, rows.length - 1))]);
    event.preventDefault();
  }

  #select(row) {
    if (!row) return;
    row.focus();
    this.open(row.dataset.jid);
  }

  // open shows a conversation.
  open(jid) {
    this.#saveDraft();
    this.#open.set(this.#person.id, jid);
    this.#loadDraft();
    this.render();
  }

  // partner is whose conversation is open: the one chosen, or else somebody to begin with.
  get #partner() {
    const open = this.#open.get(this.#person.id);
    if (open) return open;
    const preferred = this.preferred();
    return this.#person.roster.get(preferred) ? preferred : this.#person.groups()[0]?.items[0]?.jid;
  }

  #send() {
    const text = this.#field.value.trim();
    if (!text || !this.#partner) return;
    if (this.#person.say(this.#partner, text)) this.#field.value = '';
  }

  #draftKey() {
    return this.#person && `${this.#person.id} ${this.#open.get(this.#person.id) ?? ''}`;
  }

  #saveDraft() {
    if (this.#person) this.#drafts.set(this.#draftKey(), this.#field.value);
  }

  #loadDraft() {
    this.#field.value = this.#drafts.get(this.#draftKey()) ?? '';
  }

  #contactChanged(person, { jid, name, kind }) {
    this.#news.set(person.id, `${clock(Date.now(), true)} ${name} ${NEWS[kind]}`);
    if (person !== this.#person) return;
    this.render();
    queueMicrotask(() => {
      // Runs after the rendering, which was queued before.
      for (const [key, row] of this.#rows) {
        if (key.endsWith(`\n${jid}`) && kind !== 'removed') flash(row, kind);
      }
    });
  }

  // --- rendering

  #renderHead() {
    const { avatar, name, people } = this.#at;
    const person = this.#person;
    setFace(avatar, person.id, person.name);
    setText(name, person.name);
    setData(this.#at['own-dot'], { presence: person.connection === 'online' ? person.show : 'offline' });
    setData(this.#root, { connection: person.connection });
    this.#root.querySelector('[data-action="presence"]').value = person.show;
    for (const label of people.querySelectorAll('label')) {
      const input = label.querySelector('input');
      const other = this.#people.get(input.value);
      input.checked = other === person;
      setText(label.querySelector('.badge'), other === person ? '' : badge(other.chats.unread()));
    }
  }

  #renderContacts() {
    const person = this.#person;
    const partner = this.#partner;
    const rows = new Map();
    const groups = person.groups().map(({ name, items }) => {
      const group = this.#rows.get(name) ?? makeGroup(name);
      rows.set(name, group);
      const title = group.firstElementChild;
      const contacts = items.map((item) => {
        const key = `${name}\n${item.jid}`;
        const row = this.#rows.get(key) ?? fromTemplate('contact');
        rows.set(key, row);
        this.#renderContact(row, item, item.jid === partner);
        return row;
      });
      setChildren(group, [title, ...contacts]);
      return group;
    });
    this.#rows = rows;
    setChildren(this.#at.contacts, groups);
    this.#oneTabStop();
    setText(this.#at.empty, emptyText(person));
  }

  #renderContact(row, item, selected) {
    const person = this.#person;
    const leaving = person.isLeaving(item.jid);
    const { show, status } = person.roster.presenceOf(item.jid);
    const unread = selected ? 0 : person.chats.with(item.jid).unread;
    const name = item.name || (item.stranger ? local(item.jid) : item.jid);
    const at = slots(row);
    setFace(at.avatar, local(item.jid), name);
    setData(at.avatar, { presence: show });
    setText(at.name, name);
    const words = leaving ? 'removed' : presenceText(show, status);
    setText(at.presence, words);
    setText(at.unread, badge(unread));
    setData(row, {
      jid: item.jid,
      contact: leaving || item.stranger ? undefined : item.jid, // for tests: it is in the list
      presence: show,
      unread: unread ? String(unread) : undefined,
      leaving: leaving ? '' : undefined,
    });
    row.title = item.jid;
    row.setAttribute('aria-selected', String(selected));
    row.setAttribute('aria-label', [name, words, unread && `${unread} unread`].filter(Boolean).join(' '));
  }

  // oneTabStop lets the Tab key reach the list at one contact: the one whose conversation is open.
  #oneTabStop() {
    const rows = [...this.#at.contacts.querySelectorAll('[data-jid]')];
    const stop = rows.find((row) => row === document.activeElement) ?? rows.find((row) => row.ariaSelected === 'true') ?? rows[0];
    for (const row of rows) row.tabIndex = row === stop ? 0 : -1;
  }

  #renderChat() {
    const person = this.#person;
    const partner = this.#partner;
    if (partner) this.#open.set(person.id, partner); // it stays open, whoever comes to stand first in the list
    const { messages } = person.chats.with(partner);
    const { show, status } = partner ? person.roster.presenceOf(partner) : {};
    const known = partner && person.roster.get(partner);
    setText(this.#at['chat-name'], partner ? person.roster.name(partner) : '');
    setData(this.#at['chat-dot'], { presence: show ?? 'offline' });
    let words = '';
    if (partner) words = known ? presenceText(show, status) : 'not in contacts';
    setText(this.#at['chat-presence'], words);
    this.#at.messages.setAttribute('aria-label', `Conversation with ${partner ? person.roster.name(partner) : 'nobody'}`);
    this.#renderMessages(person, partner, messages);

    const able = Boolean(partner) && person.connection === 'online';
    this.#field.placeholder = composeHint(person, partner);
    this.#field.setAttribute('aria-label', `Message to ${partner ? person.roster.name(partner) : 'nobody'}`);
    this.#root.querySelector('[data-action="send"]').disabled = !able;
    if (partner && this.visible) person.read(partner);
  }

  #renderMessages(person, partner, messages) {
    const list = this.#at.messages;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const conversation = `${person.id} ${partner}`;
    const fresh = conversation !== this.#shown;
    if (fresh) this.#messages = [];
    const known = new Map(this.#messages.map((entry) => [entry.message, entry.element]));
    this.#messages = messages.map((message) => ({ message, element: known.get(message) ?? makeMessage(message) }));
    for (const { message, element } of this.#messages) {
      setData(element, { failed: message.failed ? '' : undefined });
      setText(element.querySelector('.message-note'), message.failed || clock(message.at));
    }
    setChildren(list, this.#messages.map((entry) => entry.element));
    this.#shown = conversation;
    if (fresh || atEnd || messages.at(-1)?.mine) list.scrollTop = list.scrollHeight;
  }

  #renderFoot() {
    const person = this.#person;
    let text = this.#news.get(person.id) ?? counted(person.roster.size, 'contact');
    if (this.appMode !== 'on' && person.listed) text = 'Application off: the last list stays';
    if (person.listTrouble) text = 'No list yet: it comes once the application answers';
    if (person.connection === 'connecting') text = 'Connecting …';
    if (person.connection === 'waiting') text = `Trying again: ${person.trouble}`;
    if (person.connection === 'stopped') text = person.trouble || 'Signed out';
    setText(this.#at.news, text);
    this.#at.news.title = text;
  }
}

function makeGroup(name) {
  const group = make('div', { className: 'group', role: 'group', ariaLabel: name }, make('div', { className: 'group-name', textContent: name }));
  group.firstElementChild.setAttribute('aria-hidden', 'true');
  group.dataset.group = name;
  return group;
}

function makeMessage({ mine, text }) {
  const element = make('div', { className: 'message' },
    make('span', { className: 'message-text', textContent: text }),
    make('span', { className: 'message-note' }));
  element.dataset.message = mine ? 'out' : 'in';
  return element;
}

function presenceText(show, status) {
  return status ? `${PRESENCE[show]} · ${status}` : PRESENCE[show];
}

function counted(count, what) {
  return count === 1 ? `1 ${what}` : `${count} ${what}s`;
}

function badge(count) {
  if (!count) return '';
  return count > 99 ? '99+' : String(count);
}

function emptyText(person) {
  if (person.roster.size) return '';
  if (person.connection === 'stopped' && !person.listed) return 'Signed out.';
  if (person.listTrouble) return 'The application has not answered yet. The contacts appear here when it does.';
  return person.listed ? 'No contacts. Add some in the application.' : '';
}

function composeHint(person, partner) {
  if (person.connection !== 'online') return person.connection === 'stopped' ? 'Signed out' : 'Connecting …';
  return partner ? `Message ${person.roster.name(partner).split(' ')[0]}` : 'Choose a contact';
}
