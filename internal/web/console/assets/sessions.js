// The clients that are online.

import { fromTemplate, setChildren, setData, setText, slots } from './dom.js';
import { askTwice, setFace } from './look.js';
import { ago, count, plain, split } from './text.js';

const SHOWN = 300; // rows; more are found with the filter
const TRANSPORTS = { tcp: 'TCP', websocket: 'WebSocket', bosh: 'BOSH' };

export class Sessions {
  #body = document.querySelector('[data-slot="sessions"]');
  #count = document.querySelector('[data-slot="session-count"]');
  #empty = document.querySelector('[data-slot="no-sessions"]');
  #filter = document.querySelector('[data-field="filter"]');
  #rows = new Map(); // address → {element, at, session}
  #all = [];
  #total = 0;
  #now = 0;
  #show;
  #end;

  // show is called with a user's address, end with a client's, more when the filter asks for a user who may not be among
  // those that were loaded.
  constructor(show, end, more) {
    this.#show = show;
    this.#end = end;
    this.#filter.addEventListener('input', () => {
      this.#render();
      if (this.user) more();
    });
  }

  // user is whose clients are to be asked for: '' for everybody's.
  get user() {
    const wanted = this.#filter.value.trim();
    return this.#total > this.#all.length && /^[^@]+@[^@]+$/.test(wanted) ? wanted : '';
  }

  // render shows the answer of /admin/sessions.
  render({ sessions, total }, now) {
    // When a client last sent something: by our clock, to the second, so that it moves only when something came.
    this.#all = sessions.map((s) => ({ ...s, heard: s.heard ?? now - 1000 * (s.idle ?? 0) }));
    this.#total = Math.max(total, sessions.length);
    this.#now = now;
    this.#render();
  }

  // add shows the clients of one user beside those that are there.
  add({ sessions }, now) {
    const had = new Set(this.#all.map((s) => s.jid));
    this.render({ sessions: [...this.#all, ...sessions.filter((s) => !had.has(s.jid))], total: this.#total }, now);
  }

  // tick brings the times up to date.
  tick(now) {
    this.#now = now;
    for (const row of this.#rows.values()) this.#times(row);
  }

  of(bare) {
    return this.#all.filter((s) => split(s.jid).bare === bare);
  }

  #render() {
    const wanted = this.#filter.value.trim().toLowerCase();
    const found = wanted ? this.#all.filter((s) => `${s.jid} ${s.remote} ${TRANSPORTS[s.transport] ?? ''}`.toLowerCase().includes(wanted)) : this.#all;
    const rows = new Map();
    for (const session of found.slice(0, SHOWN)) {
      const row = this.#rows.get(session.jid) ?? this.#make(session.jid);
      row.session = session;
      this.#fill(row);
      rows.set(session.jid, row);
    }
    this.#rows = rows;
    setChildren(this.#body, [...rows.values()].map((row) => row.element));
    setText(this.#count, this.#total === 0 ? '' : plain(this.#total));
    setText(this.#empty, note(this.#total, this.#all.length, found.length, wanted));
  }

  #make(jid) {
    const element = fromTemplate('session');
    const row = { element, at: slots(element) };
    const { bare, local, domain, resource } = split(jid);
    setData(element, { session: jid });
    setFace(row.at.avatar, bare, local);
    setText(row.at.user, local);
    setText(row.at.resource, `${domain}/${resource}`);
    const [show, end] = element.querySelectorAll('button');
    show.title = `${jid}: show the roster`;
    show.addEventListener('click', () => this.#show(bare));
    end.setAttribute('aria-label', `End the session ${jid}`);
    askTwice(end, 'end', 'Really?', () => this.#end(jid));
    return row;
  }

  #fill(row) {
    const { at, session } = row;
    setText(at.transport, TRANSPORTS[session.transport] ?? session.transport ?? '');
    setText(at.tls, session.detached ? 'away' : session.tls || (session.secure ? 'TLS' : 'no TLS'));
    setData(at.tls, { secure: session.secure ? 'yes' : 'no', detached: session.detached ? 'yes' : 'no' });
    setText(at.address, session.remote.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1'));
    at.address.title = session.remote;
    at.tls.title = session.detached ? 'It has lost its connection, and may come back to its session.' : (session.cipher ?? '');
    setData(at.avatar, { presence: session.available ? 'available' : 'offline' });
    this.#times(row);
  }

  #times({ at, session }) {
    setText(at.since, ago(this.#now - Date.parse(session.since)));
    setText(at.idle, ago(this.#now - session.heard));
  }
}

function note(total, loaded, found, wanted) {
  if (total === 0) return 'Nobody is online.';
  if (found === 0) return loaded < total ? `None of the first ${plain(loaded)} has “${wanted}”; type a whole address.` : `No client has “${wanted}”.`;
  if (found > SHOWN || loaded < total) return `${plain(Math.min(found, SHOWN))} of ${count(wanted ? found : total, 'client')} are shown; type an address to find others.`;
  return '';
}
