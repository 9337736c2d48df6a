// How numbers and times are written.

const number = new Intl.NumberFormat('en-GB');

// count writes a number with its noun: count(2, 'client') is "2 clients".
export function count(n, noun) {
  return `${number.format(n)} ${noun}${n === 1 ? '' : 's'}`;
}

export const plain = (n) => number.format(n);

// ago writes how long something lasts, in milliseconds, in its largest unit.
export function ago(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

// took writes how long a request took, from milliseconds.
export function took(ms) {
  if (ms < 0.1) return '< 0.1 ms';
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(1)} s`;
}

// clock writes a time of day.
const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
export const clock = (at) => time.format(at);

// split takes an address apart: local is the user's name, or the domain of one that has no user.
export function split(jid) {
  const slash = jid.indexOf('/');
  const bare = slash < 0 ? jid : jid.slice(0, slash);
  const at = bare.indexOf('@');
  return { bare, local: at < 0 ? bare : bare.slice(0, at), domain: bare.slice(at + 1), resource: slash < 0 ? '' : jid.slice(slash + 1) };
}
