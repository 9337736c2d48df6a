// The application's panel: who knows whom, the switch, and the log of what passes between the application and rollcall.
// It talks to the application's own API under app/, never to rollcall.

import { fromTemplate, make, setChildren, setData, setText, slots } from './dom.js';
import { clock, setFace } from './look.js';

const NOTICES = {
  on: 'Every change below is told to rollcall with one POST; rollcall then asks for the lists.',
  unavailable: 'The application is off: it answers 503. Chats go on, and every list stays as it was last known.',
  silent: 'The application is off: it does not answer. Chats go on, and every list stays as it was last known.',
};

const FEED_LINES = 200;

export class AppPanel {
  #root;
  #rows;
  #feed;
  #state = null;
  #owner = 'alice';
  #editing = ''; // the contact whose form is open
  #rowElements = new Map();
  #trouble = '';
  #boot = '';
  #atEnd = true; // the log shows its newest line

  constructor(root) {
    this.#root = root;
    this.#rows = root.querySelector('[data-rows]');
    this.#feed = root.querySelector('[data-feed]');
    this.#stayAtEnd();
    root.addEventListener('click', ({ target }) => this.#click(target.closest('button[data-action]')));
    root.addEventListener('change', ({ target }) => this.#change(target));
    root.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#save(event.target.closest('[data-row]'));
    });
    root.addEventListener('keydown', ({ key }) => {
      if (key === 'Escape' && this.#editing) this.#edit('');
    });
  }

  // setOwner shows the contacts of somebody else.
  setOwner(id) {
    this.#owner = id;
    this.#editing = '';
    this.#render();
  }

  setState(state) {
    if (this.#boot && state.boot !== this.#boot) this.#feed.replaceChildren(); // a new run: its lines count from 1
    this.#boot = state.boot;
    this.#state = state;
    this.#render();
  }

  // setTrouble tells that the application itself cannot be reached; '' that it can.
  setTrouble(text) {
    this.#trouble = text;
    this.#render();
  }

  // addLine adds a line of the log, or replaces the line of the same number.
  addLine(line) {
    const feed = this.#feed;
    const element = makeLine(line);
    const old = feed.querySelector(`[data-line="${Number(line.number)}"]`);
    if (old) {
      const opened = old.querySelector('details')?.open;
      const details = element.querySelector('details');
      if (opened && details) details.open = true;
      old.replaceWith(element);
    } else {
      const after = [...feed.children].find((other) => Number(other.dataset.line) > line.number);
      feed.insertBefore(element, after ?? null);
      if (feed.children.length > FEED_LINES) feed.firstElementChild.remove();
    }
    if (this.#atEnd) feed.scrollTop = feed.scrollHeight;
  }

  // stayAtEnd shows the newest line, whatever happens to the height of the log, until the visitor scrolls up.
  #stayAtEnd() {
    const feed = this.#feed;
    feed.addEventListener('scroll', () => {
      this.#atEnd = feed.scrollHeight - feed.scrollTop - feed.clientHeight < 40;
    });
    feed.addEventListener('toggle', ({ target }) => target.scrollIntoView({ block: 'nearest' }), true); // does not bubble
    new ResizeObserver(() => {
      if (this.#atEnd) feed.scrollTop = feed.scrollHeight;
    }).observe(feed);
  }

  // --- acting

  #click(button) {
    const contact = button?.closest('[data-row]')?.dataset.row;
    switch (button?.dataset.action) {
      case 'add':
        this.#act('add', { owner: this.#owner, contact, both: this.#both });
        break;
      case 'remove':
        this.#act('remove', { owner: this.#owner, contact, both: this.#both });
        break;
      case 'edit':
        this.#edit(this.#editing === contact ? '' : contact);
        break;
      case 'cancel':
        this.#edit('');
        break;
      case 'reset':
        this.#editing = '';
        this.#act('reset', {});
        break;
    }
  }

  #change({ dataset, value }) {
    if (dataset.action === 'mode') this.#act('mode', { mode: value });
    if (dataset.action === 'owner') this.setOwner(value);
    if (dataset.action === 'both') this.#render();
  }

  get #both() {
    return this.#root.querySelector('[data-action="both"]').checked;
  }

  #edit(contact) {
    const before = this.#editing;
    this.#editing = contact;
    this.#render();
    if (contact) this.#field(contact, 'name').select();
    else this.#rowElements.get(before)?.querySelector('[data-action="edit"]').focus();
  }

  #field(contact, name) {
    return this.#rowElements.get(contact).querySelector(`[data-field="${name}"]`);
  }

  async #save(row) {
    const contact = row.dataset.row;
    const name = this.#field(contact, 'name').value;
    const groups = this.#field(contact, 'groups').value.split(',');
    const saved = await this.#act('change', { owner: this.#owner, contact, name, groups, both: this.#both });
    if (saved) this.#edit('');
  }

  // act posts to the application. What changed comes back through the feed.
  async #act(what, body) {
    try {
      const answer = await fetch(`app/${what}`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      });
      if (!answer.ok) throw new Error((await answer.json()).error);
      this.setTrouble('');
      return true;
    } catch (error) {
      this.setTrouble(`That did not work: ${error.message}.`);
      return false;
    }
  }

  // --- rendering

  #render() {
    const state = this.#state;
    const notice = this.#trouble || NOTICES[state?.mode] || '';
    const at = this.#root.querySelector('[data-notice]');
    setText(at, notice);
    setData(at, { alert: this.#trouble || state?.mode !== 'on' ? '' : undefined });
    if (!state) return;
    setData(this.#root, { mode: state.mode });
    for (const input of this.#root.querySelectorAll('[data-action="mode"]')) input.checked = input.value === state.mode;
    this.#renderOwners(state);
    const owner = state.people.find((p) => p.id === this.#owner);
    setChildren(this.#rows, state.people.filter((p) => p !== owner).map((p) => this.#renderRow(owner, p)));
  }

  #renderOwners({ people }) {
    const owners = this.#root.querySelector('[data-owners]');
    if (!owners.children.length) {
      for (const { id, name } of people) {
        const input = make('input', { type: 'radio', name: 'owner', value: id });
        input.dataset.action = 'owner';
        const face = make('span', { className: 'segment', textContent: firstName(name) });
        owners.append(make('label', {}, input, face));
      }
    }
    for (const input of owners.querySelectorAll('input')) input.checked = input.value === this.#owner;
  }

  #renderRow(owner, person) {
    const contact = owner.contacts.find((c) => c.id === person.id);
    const back = person.contacts.some((c) => c.id === owner.id);
    const editing = Boolean(contact) && this.#editing === person.id;
    let row = this.#rowElements.get(person.id);
    if (!row) {
      row = fromTemplate('row');
      this.#rowElements.set(person.id, row);
    }
    const at = slots(row);
    setData(row, { row: person.id, known: contact ? 'yes' : 'no' });
    setFace(at.avatar, person.id, person.name);
    setText(at.name, contact ? contact.name || person.jid : person.name);
    setText(at.groups, describe(owner, person, contact, back));
    const [edit, remove, add] = ['edit', 'remove', 'add'].map((action) => row.querySelector(`[data-action="${action}"]`));
    edit.hidden = remove.hidden = !contact;
    add.hidden = Boolean(contact);
    edit.setAttribute('aria-expanded', String(editing));
    edit.setAttribute('aria-label', `Edit ${person.name}`);
    remove.setAttribute('aria-label', `Remove ${person.name}`);
    add.setAttribute('aria-label', `Add ${person.name}`);
    const form = row.querySelector('form');
    if (editing && form.hidden) {
      this.#field(person.id, 'name').value = contact.name;
      this.#field(person.id, 'groups').value = contact.groups.join(', ');
    }
    form.hidden = !editing;
    return row;
  }
}

function firstName(name) {
  return name.split(' ')[0];
}

// describe says in a few words what two people are to each other.
function describe(owner, person, contact, back) {
  const [one, other] = [firstName(owner.name), firstName(person.name)];
  if (!contact) return back ? `${other} has ${one}, ${one} not ${other}` : 'do not know each other';
  const groups = contact.groups.join(', ') || 'no group';
  return contact.mutual ? groups : `${groups} · ${other} does not have ${one}`;
}

// makeLine writes one line of the log; what has a body can be opened.
function makeLine(line) {
  const state = line.pending ? 'pending' : line.failed || line.status >= 400 ? 'failed' : 'ok';
  const time = make('time', { textContent: clock(new Date(line.time), true) });
  const words = make('span', {}, make('span', { className: 'line-text', textContent: line.text }));
  if (line.kind === 'notify') words.append(' ', make('span', { className: 'line-body', textContent: line.request }));
  if (line.kind === 'fetch' || line.kind === 'notify') words.append(' ', makeResult(line));
  const element = make('li');
  setData(element, { line: String(line.number), kind: line.kind, state });
  if (line.answer) {
    const body = make('pre', { textContent: pretty(line.answer) });
    element.append(make('details', {}, make('summary', {}, time, words), body));
  } else {
    element.append(make('div', { className: 'line' }, time, words));
  }
  return element;
}

// makeResult writes how a request was answered: "200 2 contacts · 1.2 ms".
function makeResult({ pending, status, note, millis }) {
  const code = pending ? '…' : status || '✕';
  return make('span', { className: 'line-result' },
    make('b', { textContent: code }),
    ` ${[note, millis && duration(millis)].filter(Boolean).join(' · ')}`);
}

function duration(millis) {
  if (millis < 0.1) return '< 0.1 ms';
  if (millis < 10) return `${millis.toFixed(1)} ms`;
  return millis < 1000 ? `${Math.round(millis)} ms` : `${(millis / 1000).toFixed(1)} s`;
}

// pretty indents JSON; anything else stays as it is.
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
