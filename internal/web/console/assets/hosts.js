// The hosts: how many are there, and how each one's service does.

import { fromTemplate, make, setChildren, setData, setText, slots } from './dom.js';
import { svg } from './look.js';
import { ago, plain, took } from './text.js';

const STATES = { ok: 'service ok', failing: 'service failing', down: 'service down', unasked: 'not asked yet', none: 'no service' };
const KEPT = 60; // points of a line

export class Hosts {
  #root = document.querySelector('[data-slot="hosts"]');
  #cards = new Map(); // name → {element, at, points}
  #show; // called with an address whose roster is to be seen

  constructor(show) {
    this.#show = show;
  }

  // render shows hosts as /admin/status has them.
  render(hosts, now) {
    const cards = hosts.map((host) => {
      const card = this.#cards.get(host.host) ?? this.#make(host.host);
      this.#fill(card, host, now);
      return card.element;
    });
    setChildren(this.#root, cards);
  }

  #make(name) {
    const element = fromTemplate('host');
    const card = { element, at: slots(element), points: [], held: new Set(), last: undefined };
    this.#cards.set(name, card);
    setData(element, { host: name });
    return card;
  }

  #fill(card, host, now) {
    const { element, at } = card;
    const { rosters, service } = host;
    setText(at.name, host.host);
    setData(element, { state: service.state });
    setText(at.state, STATES[service.state] ?? service.state ?? '');
    setText(at.users, plain(host.users));
    setText(at.sessions, plain(host.sessions));
    setText(at.known, plain(rosters.known));
    for (const name of ['stale', 'unknown', 'held']) {
      setText(at[name], plain(rosters[name]));
      at[`${name}-box`].hidden = !rosters[name];
    }
    at.health.hidden = service.state === 'none';
    setText(at.errors, errorRate(service));
    setText(at.trouble, [trouble(service, now), ...others(host.services ?? {}, now)].filter(Boolean).join(' '));
    const waiting = host.messages?.waiting ?? 0;
    setText(at.waiting, plain(waiting));
    at['waiting-box'].hidden = waiting === 0;
    if (card.last && service.failures > card.last.failures) this.#point(card, { failed: true });
    card.last = service;
    if (!rosters.held) card.held.clear();
    this.#renderHeld(card, host.host);
    draw(at.spark, card.points);
  }

  // renderHeld names those whose removals are held, as far as events have told.
  #renderHeld({ at, held }, name) {
    const buttons = [...held].sort().map((user) => {
      const button = make('button', { type: 'button', className: 'link', textContent: `${user}: removals held` });
      button.addEventListener('click', () => this.#show(`${user}@${name}`));
      return make('li', {}, button);
    });
    at['held-list'].replaceChildren(...buttons);
  }

  // heard takes in what an event says of a user's held removals.
  heard(e) {
    const card = this.#cards.get(e.host);
    if (!card || e.what === 'session ended') return;
    for (const user of e.users) {
      if (e.held === e.names) card.held.add(user);
      else if (e.errors === 0) card.held.delete(user);
    }
    this.#renderHeld(card, e.host);
  }

  #point(card, point) {
    card.points.push(point);
    if (card.points.length > KEPT) card.points.shift();
  }

  // took adds to the host's line how long requests to its service took, in milliseconds: the mean since the last time.
  took(name, ms) {
    const card = this.#cards.get(name);
    if (!card) return;
    this.#point(card, { ms });
    setText(card.at.latency, took(ms));
    draw(card.at.spark, card.points);
  }
}

function errorRate({ fetches = 0, failures = 0 }) {
  if (fetches === 0) return '';
  const share = (100 * failures) / fetches;
  const percent = failures === 0 ? '0' : share < 0.1 ? '< 0.1' : share.toFixed(share < 10 ? 1 : 0);
  return `${percent} % of ${plain(fetches)} failed`;
}

function trouble(service, now) {
  if (service.state !== 'failing' && service.state !== 'down') return '';
  const since = service.last_success ? `Last answer ${ago(now - Date.parse(service.last_success))} ago.` : 'It has never answered.';
  const breaker = { open: 'It is left alone for a while (breaker open).', 'half-open': 'One request finds out whether it is back (breaker half-open).' };
  return [since, breaker[service.breaker], service.last_error].filter(Boolean).join(' ');
}

// others says which of the host's other services have trouble.
function others(services, now) {
  return Object.entries(services).map(([name, service]) => [name, trouble(service, now)])
    .filter(([, text]) => text).map(([name, text]) => `The service “${name}” fails. ${text}`);
}

// draw makes a line of how long requests took; marks at the bottom are moments when some failed.
function draw(spark, points) {
  const top = Math.max(1, ...points.filter((p) => !p.failed).map((p) => p.ms));
  const x = (i) => (240 * (KEPT - points.length + i + 0.5)) / KEPT;
  const y = (ms) => 37 - (33 * ms) / top;
  const good = points.map((p, i) => !p.failed && `${x(i).toFixed(1)},${y(p.ms).toFixed(1)}`).filter(Boolean);
  const parts = [svg('path', { class: 'base', d: 'M0 38.5H240' })];
  if (good.length > 1) {
    const [first] = good[0].split(',');
    const [last] = good.at(-1).split(',');
    parts.push(svg('path', { class: 'under', d: `M${first} 38L${good.join('L')}L${last} 38Z` }));
    parts.push(svg('polyline', { class: 'line', points: good.join(' ') }));
  }
  if (good.length > 0) parts.push(svg('path', { class: 'dot-last', d: `M${good.at(-1).replace(',', ' ')}h0` }));
  points.forEach((p, i) => {
    if (p.failed) parts.push(svg('path', { class: 'fail', d: `M${x(i).toFixed(1)} 30V38` }));
  });
  spark.replaceChildren(...parts);
  const failed = points.filter((p) => p.failed).length;
  spark.setAttribute('aria-label', points.length === 0 ? 'No request since this page was opened' : `Requests to the service, ${points.length} looks: at most ${took(top)} on average; failures at ${failed}`);
}
