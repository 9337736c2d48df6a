// The console: asks the admin API, hears its events, and lets the parts show what there is.

import { Api } from './api.js';
import { setData, setText } from './dom.js';
import { announce } from './look.js';
import { concerns, lineOf } from './events.js';
import { Feed } from './feed.js';
import { Hosts } from './hosts.js';
import { meanSince, requestTimes } from './metrics.js';
import { Sessions } from './sessions.js';
import { ago, count } from './text.js';
import { User } from './user.js';

const EVERY = 5000; // ms between two looks at what no event tells
const PAUSE = 1000; // at least between two questions about sessions

const at = (name) => document.querySelector(`[data-slot="${name}"]`);
const api = new Api();
const feed = new Feed();
const sessions = new Sessions(showUser, endSession, loadSessions);
const hosts = new Hosts(showUser);
const user = new User(api, (jid) => sessions.of(jid));
let ending = new AbortController(); // of the present sign-in

// --- signing in

const form = document.querySelector('[data-sign-in]');
const token = document.querySelector('[data-field="token"]');
const signOut = document.querySelector('[data-action="sign-out"]');

form.addEventListener('submit', (event) => {
  event.preventDefault();
  api.token = token.value.trim();
  token.value = '';
  begin();
});
signOut.addEventListener('click', () => {
  api.token = '';
  askForToken('');
});

// begin shows the console if the server lets us, or asks for the token.
async function begin() {
  let status;
  try {
    status = await api.status();
  } catch (error) {
    if (error.name === 'AbortError') return;
    if (error.status === 401 || error.status === 403) {
      const why = api.token || error.status === 403 ? error.message : '';
      api.token = '';
      askForToken(why);
    } else {
      live('off', error.message);
      setTimeout(begin, EVERY);
    }
    return;
  }
  ending = new AbortController();
  timesRefused = false;
  show(true);
  signOut.hidden = !api.token;
  showStatus(status);
  loadSessions();
  work(ending.signal);
}

function askForToken(why) {
  ending.abort();
  show(false);
  user.clear();
  sessions.render({ sessions: [], total: 0 }, api.now());
  feed.clear();
  signOut.hidden = true;
  live('off', 'Signed out');
  setText(at('why'), why);
  token.focus();
}

function show(signedIn) {
  document.querySelector('[data-door]').hidden = signedIn;
  for (const part of document.querySelectorAll('[data-console]')) part.hidden = !signedIn;
}

function live(state, text) {
  setData(document.body, { live: state });
  setText(at('live'), text);
}

// failed handles what went wrong with a question that nobody waits for: a token may have been withdrawn.
function failed(error) {
  if (error.name === 'AbortError') return;
  if (error.status === 401 || error.status === 403) {
    api.token = '';
    askForToken(error.message);
  }
}

// --- what there is

async function loadStatus() {
  showStatus(await api.status());
  await loadTimes();
}

// statusSoon asks for the status when something has happened: once for all that happens at a time.
let soon;

function statusSoon() {
  soon ??= setTimeout(() => {
    soon = undefined;
    if (!ending.signal.aborted) loadStatus().catch(failed);
  }, 400);
}

// loadTimes asks how long the services take. Metrics are of all hosts: who may see some only goes without.
let times = new Map();
let timesRefused = false;

async function loadTimes() {
  if (timesRefused) return;
  try {
    const now = requestTimes(await api.metrics());
    for (const [host, total] of now) {
      const mean = meanSince(times.get(host), total);
      if (mean !== undefined) hosts.took(host, mean);
    }
    times = now;
  } catch (error) {
    if (error.status !== 403 && error.status !== 404) throw error;
    timesRefused = true;
  }
}

function showStatus(status) {
  const now = api.now();
  const online = status.hosts.reduce((sum, h) => sum + h.sessions, 0);
  const parts = [count(status.hosts.length, 'host'), `${count(online, 'client')} online`, `up ${ago(now - Date.parse(status.started))}`, `version ${status.version}`];
  setText(at('summary'), (status.ready ? '' : 'Starting or stopping · ') + parts.join(' · '));
  hosts.render(status.hosts, now);
}

let loading = false;
let again = false;

// loadSessions asks for all clients, once at a time and not too often, and once more if something changed meanwhile.
async function loadSessions() {
  again = true;
  if (loading) return;
  loading = true;
  const signal = ending.signal;
  while (again && !signal.aborted) {
    again = false;
    try {
      const answer = await api.sessions('');
      if (signal.aborted) break;
      sessions.render(answer, api.now());
      if (sessions.user) sessions.add(await api.sessions(sessions.user), api.now());
      user.tick();
    } catch (error) {
      failed(error);
    }
    await pause(PAUSE);
  }
  loading = false;
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// work keeps everything up to date until signal ends.
function work(signal) {
  const timers = [
    setInterval(() => document.hidden || loadStatus().catch(failed), EVERY),
    setInterval(() => document.hidden || loadSessions(), EVERY),
    setInterval(tick, 1000),
  ];
  signal.addEventListener('abort', () => timers.forEach(clearInterval));
  listen(signal);
}

function tick() {
  sessions.tick(api.now());
  user.tick();
}

// listen hears events, and connects again when the stream ends; meanwhile nothing is lost but lines of the feed, for what
// there is is asked for anew.
async function listen(signal) {
  let lastId = '';
  for (let wait = 1000; !signal.aborted; wait = Math.min(wait * 2, 15_000)) {
    try {
      await api.events(signal, lastId, opened, (event) => {
        lastId = event.id ?? lastId;
        hear(event);
      });
    } catch (error) {
      failed(error);
    }
    if (signal.aborted) return;
    live('waiting', 'Reconnecting …');
    await pause(wait);
  }

  function opened() {
    live('on', 'Live');
    loadStatus().catch(failed);
    loadSessions();
  }
}

function hear(event) {
  if (event.type !== 'outcome') return;
  const outcome = JSON.parse(event.data);
  feed.add(lineOf(outcome));
  hosts.heard(outcome);
  statusSoon();
  if (outcome.what === 'session ended') loadSessions();
  if (concerns(outcome, user.jid)) user.changed();
}

// --- what can be done

function showUser(jid) {
  view('user');
  user.show(jid);
}

async function endSession(jid) {
  try {
    await api.endSession(jid);
    announce(`${jid} is signed out.`);
  } catch (error) {
    if (error.name === 'AbortError') return;
    feed.add({ kind: 'operator', state: 'failed', at: api.now(), what: `end ${jid}`, result: 'failed', more: error.message });
    failed(error);
  }
  loadSessions();
}

// --- tabs of a narrow window

const tabs = [...document.querySelectorAll('[role="tab"]')];

function view(name) {
  setData(document.body, { view: name });
  for (const tab of tabs) {
    const chosen = tab.dataset.view === name;
    tab.setAttribute('aria-selected', String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  }
  feed.follow();
}

for (const tab of tabs) {
  tab.addEventListener('click', () => view(tab.dataset.view));
  tab.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    next.focus();
    view(next.dataset.view);
  });
}
view(document.body.dataset.view);

begin();
