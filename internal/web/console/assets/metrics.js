// How long requests to the services take, from /metrics: the text format of Prometheus, of which two numbers are read.

const LINE = /^rollcall_roster_request_duration_seconds_(sum|count)\{(?:[^}]*,)?host="((?:[^"\\]|\\.)*)"[^}]*\} (\S+)/;

// requestTimes gives, for each host, the seconds and the number of all requests so far: Map of host → {sum, count}.
export function requestTimes(text) {
  const hosts = new Map();
  for (const line of text.split('\n')) {
    const [, what, host, value] = LINE.exec(line) ?? [];
    if (!what) continue;
    const name = host.replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c));
    if (!hosts.has(name)) hosts.set(name, { sum: 0, count: 0 });
    hosts.get(name)[what] = Number(value);
  }
  return hosts;
}

// meanSince gives the mean of the requests between two looks in milliseconds; undefined when there were none.
export function meanSince(before, now) {
  const requests = now.count - (before?.count ?? 0);
  if (requests < 0) return meanSince(undefined, now); // the server has begun anew
  if (requests === 0) return undefined;
  return (1000 * (now.sum - (before?.sum ?? 0))) / requests;
}
