// How the demo shows things: what has changed, faces, the time.

import { setData } from './dom.js';

// flash marks an element for a moment, so that the eye finds what has changed. How it looks is the style sheet's.
const flashes = new WeakMap();
export function flash(element, kind) {
  clearTimeout(flashes.get(element));
  element.dataset.flash = kind;
  flashes.set(element, setTimeout(() => delete element.dataset.flash, 1800));
}

// setFace makes an element somebody's avatar. The style sheet writes the letter, which is no text: it says nothing to those
// who cannot see it.
export function setFace(element, person, name) {
  setData(element, { person, initial: ([...name.trim()][0] ?? '?').toLocaleUpperCase() });
}

// clock writes a time of day.
export function clock(at, seconds = false) {
  const options = { hour: '2-digit', minute: '2-digit', ...(seconds && { second: '2-digit' }), hourCycle: 'h23' };
  return new Intl.DateTimeFormat(undefined, options).format(at);
}
