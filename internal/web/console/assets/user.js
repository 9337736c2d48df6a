// One user's roster, as it is served: what is in it, how old it is and where it came from.

import { fromTemplate, make, setChildren, setData, setText, slots } from './dom.js';
import { askTwice, setFace } from './look.js';
import { ago, count, split, took } from './text.js';

const SOURCES = { fetch: 'fetched from the application', put: 'sent by the application (PUT)', patch: 'sent by the application (PATCH)', store: 'kept from before the restart' };

export class User {
  #root = document.querySelector('[data-slot="user"]');
  #field = document.querySelector('[data-field="user"]');
  #api;
  #online; // gives a user's clients, by bare address
  #jid = '';
  #at;
  #document;
  #soon; // the timer of a question
  #wanted = 0; // the number of the last question: answers to older ones come too late

  constructor(api, online) {
    this.#api = api;
    this.#online = online;
    document.querySelector('[data-find]').addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.#field.value.trim()) this.show(this.#field.value.trim());
    });
    this.#say('Whose contacts? Choose somebody who is online, or type an address.');
  }

  get jid() {
    return this.#jid;
  }

  clear() {
    this.#jid = '';
    this.#wanted++;
    this.#field.value = '';
    this.#say('');
  }

  // show asks for a user's roster and shows it.
  async show(jid) {
    if (jid !== this.#jid) this.#at = undefined;
    this.#jid = jid;
    this.#field.value = jid;
    await this.reload();
  }

  // reload asks anew for the roster that is shown.
  async reload() {
    if (!this.#jid) return;
    const asked = ++this.#wanted;
    try {
      const found = await this.#api.roster(this.#jid);
      if (asked !== this.#wanted) return;
      this.#document = found;
      this.#build();
      this.#render();
    } catch (error) {
      if (asked === this.#wanted) this.#say(error.message);
    }
  }

  // changed asks anew soon: once for all that changes at a time.
  changed() {
    if (this.#soon) return;
    this.#soon = setTimeout(() => {
      this.#soon = undefined;
      this.reload();
    }, 150);
  }

  // tick brings the times up to date.
  tick() {
    if (this.#at && this.#document) this.#facts();
  }

  #say(text) {
    this.#at = undefined;
    this.#root.replaceChildren(make('p', { className: 'empty', textContent: text }));
    delete this.#root.dataset.user;
  }

  #build() {
    if (this.#at) return;
    const element = fromTemplate('roster');
    this.#at = slots(element);
    setData(this.#root, { user: this.#jid });
    this.#root.replaceChildren(element);
    element.querySelector('[data-action="refresh"]').addEventListener('click', () => this.#refresh());
    askTwice(element.querySelector('[data-action="confirm"]'), 'confirm', 'Really remove them?', () => this.#confirm());
  }

  async #refresh() {
    const button = this.#root.querySelector('[data-action="refresh"]');
    const began = performance.now();
    button.disabled = true;
    this.#outcome('', 'The application is asked …');
    try {
      const answer = await this.#api.refresh(this.#jid);
      const [detail] = Object.values(answer.users ?? {});
      this.#outcome(...outcomeOf(answer, detail, performance.now() - began));
    } catch (error) {
      this.#outcome('failed', error.message);
    }
    button.disabled = false;
    await this.reload();
  }

  async #confirm() {
    try {
      await this.#api.confirm(this.#jid);
      this.#outcome('ok', 'The held contacts are removed.');
    } catch (error) {
      this.#outcome('failed', error.message);
    }
    await this.reload();
  }

  #outcome(state, text) {
    if (!this.#at) return;
    setData(this.#at.outcome, { state: state || undefined });
    setText(this.#at.outcome, text);
  }

  #render() {
    const { avatar, name, domain } = this.#at;
    const user = split(this.#jid);
    setFace(avatar, this.#jid, user.local);
    setText(name, user.local);
    setText(domain, user.local === user.domain ? '' : user.domain);
    this.#facts();
    this.#held();
    this.#items();
    this.#dropped();
  }

  #facts() {
    const d = this.#document;
    const now = this.#api.now();
    const clients = this.#online(this.#jid).length;
    const words = clients ? `online with ${count(clients, 'client')}` : 'online';
    setText(this.#at.online, d.online ? words : 'offline');
    const facts = [
      ['Contacts', String(items(d).length)],
      ['Version', d.version],
      ['Age', `${ago(now - Date.parse(d.as_of))}${d.max_age === undefined ? '' : `; asked again after ${ago(1000 * d.max_age)}`}${d.stale ? '; out of date' : ''}`],
      ['Source', SOURCES[d.source] ?? d.source],
      ['ETag', d.etag],
      ['Last error', d.last_error],
    ].filter(([, value]) => value);
    setChildren(this.#at.facts, facts.flatMap(([term, value]) => [make('dt', { textContent: term }), make('dd', { textContent: value })]));
  }

  #held() {
    const { held } = this.#document;
    this.#at.held.hidden = !held;
    if (!held) return;
    const since = ago(this.#api.now() - Date.parse(held.since));
    setText(this.#at['held-text'], `The application left out ${count(held.removed, 'contact')} at once, ${since} ago. They stay until it says so a second time, or you do.`);
    const names = held.removed_contacts ?? [];
    this.#at['held-summary'].parentElement.hidden = names.length === 0;
    setText(this.#at['held-summary'], 'Who would go');
    setChildren(this.#at['held-names'], names.map((jid) => make('li', { textContent: jid })));
  }

  #items() {
    const groups = new Map();
    for (const item of items(this.#document)) {
      for (const group of item.groups?.length ? item.groups : ['']) {
        if (!groups.has(group)) groups.set(group, []);
        groups.get(group).push(item);
      }
    }
    const names = [...groups.keys()].sort((a, b) => (a === '') - (b === '') || a.localeCompare(b));
    const children = names.map((name) => {
      const list = make('ul', {}, ...groups.get(name).map(contact));
      const title = make('h4', { className: 'group-name', textContent: name || (names.length > 1 ? 'No group' : 'Contacts') });
      return make('section', {}, title, list);
    });
    setChildren(this.#at.groups, children);
  }

  #dropped() {
    const dropped = this.#document.dropped ?? [];
    const out = dropped.filter((d) => !d.warning).length;
    this.#at.dropped.hidden = dropped.length === 0;
    setText(this.#at['dropped-summary'], out ? `${count(out, 'contact')} of the document left out` : `${count(dropped.length, 'contact')} of the document altered`);
    setChildren(this.#at['dropped-items'], dropped.map((d) => make('li', { textContent: `${d.key}: ${d.reason}` })));
  }
}

// items lists the contacts of a document: section 1 of the contract has them by address.
function items(d) {
  return Object.entries(d.items ?? {})
    .map(([jid, item]) => ({ jid, ...item }))
    .sort((a, b) => (a.name || a.jid).localeCompare(b.name || b.jid));
}

function contact(item) {
  const element = fromTemplate('contact');
  const at = slots(element);
  setData(element, { contact: item.jid });
  setFace(at.avatar, item.jid, item.name || split(item.jid).local);
  setText(at.name, item.name || item.jid);
  setText(at.jid, item.name ? item.jid : '');
  const subscription = item.subscription ?? 'both';
  setText(at.subscription, subscription === 'both' ? '' : subscription);
  return element;
}

function outcomeOf(answer, detail, ms) {
  if (!detail) return [answer.errors ? 'failed' : 'ok', answer.message];
  const { result, added = 0, removed = 0, changed = 0, error } = detail;
  switch (result) {
    case 'changed':
      return ['ok', `Changed: ${added} added, ${removed} removed, ${changed} altered, in ${took(ms)}.`];
    case 'unchanged':
      return ['ok', `The application was asked, and nothing has changed, in ${took(ms)}.`];
    case 'held':
      return ['held', `Held: ${count(removed, 'contact')} would be removed at once.`];
    case 'offline':
      return ['ok', 'The user is offline: the list is asked for when they come back.'];
    default:
      return ['failed', error ?? result];
  }
}
