// One check at a fixed rate by k6, to confirm the open loop of the load program.
import grpc from 'k6/net/grpc';
import { check } from 'k6';

export const options = {
  discardResponseBodies: false,
  summaryTrendStats: ['med', 'p(99)'],
  scenarios: {
    checks: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE),
      timeUnit: '1s',
      duration: `${__ENV.SECONDS}s`,
      preAllocatedVUs: 8,
      maxVUs: 64,
    },
  },
};

const client = new grpc.Client();
client.load([__ENV.PROTO], 'queuegate/v1/queue_access.proto');
const params = { metadata: { authorization: `Bearer ${__ENV.TOKEN}` }, timeout: '1s' };
const request = {
  organization_id: __ENV.ORGANIZATION,
  user_extension: __ENV.USER_EXTENSION,
  queue_extension: __ENV.QUEUE_EXTENSION,
  channel: 'CHANNEL_FEATURE_CODE',
};

export default () => {
  // Each virtual user connects once.
  if (__ITER === 0) {
    client.connect(__ENV.ADDRESS, { plaintext: true });
  }
  const response = client.invoke('queuegate.v1.QueueAccessService/CheckQueueAccess', request, params);
  check(response, { allowed: (response) => response && response.status === grpc.StatusOK && response.message.decision.allowed });
};

export function handleSummary(data) {
  const duration_ms = data.metrics.grpc_req_duration.values;
  const checks = data.metrics.checks.values;
  return {
    stdout: JSON.stringify({ allowed: checks.passes, failed: checks.fails, p50_us: duration_ms.med * 1e3, p99_us: duration_ms['p(99)'] * 1e3 }),
  };
}
