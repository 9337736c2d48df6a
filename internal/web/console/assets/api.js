// The admin API as this page uses it: docs/console.md names every call. There is no other way to the server.

import { Lines } from './lines.js';

const TOKEN = 'rollcall.token'; // in the tab's own storage, gone with the tab
const root = new URL('..', document.baseURI); // works below a proxy's own path too

// A Refusal is an answer other than 2xx, or none; status is 0 then.
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Api {
  #token = sessionStorage.getItem(TOKEN) ?? '';
  #asking = new AbortController(); // of all that is asked with this token
  #ahead = 0; // the server's clock minus ours, in milliseconds

  get token() {
    return this.#token;
  }

  // With another token, or none, nobody waits any more for what was asked before: that ends with an AbortError.
  set token(value) {
    this.#asking.abort();
    this.#asking = new AbortController();
    this.#token = value;
    if (value) sessionStorage.setItem(TOKEN, value);
    else sessionStorage.removeItem(TOKEN);
  }

  // now is the time by the server's clock.
  now() {
    return Date.now() + this.#ahead;
  }

  async #fetch(method, path, options = {}) {
    const headers = { ...options.headers };
    if (this.#token) headers.Authorization = `Bearer ${this.#token}`;
    let response;
    try {
      response = await fetch(new URL(path, root), { method, cache: 'no-store', credentials: 'same-origin', redirect: 'error', signal: this.#asking.signal, ...options, headers });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Refusal(0, 'The server does not answer.');
    }
    this.#setClock(response.headers.get('Date'));
    if (!response.ok) throw await refusal(response);
    return response;
  }

  // The header has no fractions of a second: small differences are none.
  #setClock(date) {
    const ahead = Date.parse(date) - Date.now();
    if (!Number.isNaN(ahead)) this.#ahead = Math.abs(ahead) > 2000 ? ahead : 0;
  }

  async #json(method, path, body) {
    const options = body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
    const response = await this.#fetch(method, path, options);
    return response.status === 204 ? {} : response.json();
  }

  status() {
    return this.#json('GET', 'admin/status');
  }

  // sessions gives {sessions, total}: those of one user, or with '' the first thousand of all.
  sessions(user) {
    return this.#json('GET', `admin/sessions?limit=1000${user && `&user=${encodeURIComponent(user)}`}`);
  }

  async metrics() {
    const response = await this.#fetch('GET', 'metrics', { headers: { Accept: 'text/plain' } });
    return response.text();
  }

  endSession(jid) {
    return this.#json('DELETE', `admin/sessions/${encodeURIComponent(jid)}`);
  }

  roster(jid) {
    return this.#json('GET', `roster_admin/rosters/${encodeURIComponent(jid)}`);
  }

  confirm(jid) {
    return this.#json('POST', `roster_admin/rosters/${encodeURIComponent(jid)}/confirm`);
  }

  refresh(jid) {
    return this.#json('POST', 'roster_admin/refresh?detail=1', [jid]);
  }

  // events calls opened once the stream is there, and heard with {id, type, data} for each event, until the stream ends or
  // signal does. EventSource would do it all, but it cannot send a token.
  async events(signal, lastId, opened, heard) {
    const headers = { Accept: 'text/event-stream' };
    if (lastId) headers['Last-Event-ID'] = lastId;
    const response = await this.#fetch('GET', 'admin/events', { headers, signal });
    opened();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const lines = new Lines(heard);
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      lines.add(value);
    }
  }
}

async function refusal(response) {
  const text = await response.text().catch(() => '');
  try {
    const { message } = JSON.parse(text);
    if (message) return new Refusal(response.status, sentence(message));
  } catch {
    // A proxy answered, with a page of its own.
  }
  return new Refusal(response.status, `The answer is ${response.status} ${response.statusText}.`);
}

function sentence(text) {
  const whole = text[0].toLocaleUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
