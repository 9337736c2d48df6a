import assert from 'node:assert/strict';
import { test } from 'node:test';

import { meanSince, requestTimes } from '../assets/metrics.js';

const text = `# HELP rollcall_roster_request_duration_seconds Time of requests to the service, batches among them.
# TYPE rollcall_roster_request_duration_seconds histogram
rollcall_roster_request_duration_seconds_bucket{host="a.example",le="0.001"} 3
rollcall_roster_request_duration_seconds_sum{host="a.example"} 0.5
rollcall_roster_request_duration_seconds_count{host="a.example"} 10
rollcall_roster_request_duration_seconds_sum{host="b.example"} 1.5e-05
rollcall_roster_request_duration_seconds_count{host="b.example"} 0
rollcall_roster_fetches_total{host="a.example",result="changed"} 7
`;

test('times are read for each host', () => {
  assert.deepEqual([...requestTimes(text)], [
    ['a.example', { sum: 0.5, count: 10 }],
    ['b.example', { sum: 1.5e-5, count: 0 }],
  ]);
  assert.equal(requestTimes('<html>no metrics</html>').size, 0);
});

test('the mean is that of the requests since the last look', () => {
  assert.equal(meanSince(undefined, { sum: 0.5, count: 10 }), 50);
  assert.equal(meanSince({ sum: 0.5, count: 10 }, { sum: 0.75, count: 12 }), 125);
  assert.equal(meanSince({ sum: 0.5, count: 10 }, { sum: 0.5, count: 10 }), undefined);
  assert.equal(meanSince({ sum: 0.5, count: 10 }, { sum: 0.02, count: 2 }), 10); // after a restart
});
