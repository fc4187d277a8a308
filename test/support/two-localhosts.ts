/** Preloaded by a service (`node --import`): `localhost` has two addresses, as on machines with IPv4 and IPv6. */

import dns from 'node:dns'

const addresses = [
  { address: '127.0.0.1', family: 4 },
  { address: '127.0.0.2', family: 4 },
  // Of the network for documentation, which no machine has.
  { address: '2001:db8::1', family: 6 }
]
const { lookup } = dns
dns.lookup = ((host: string, options: { all?: boolean }, callback: (error: null, found: unknown) => void) =>
  host === 'localhost' && options.all
    ? callback(null, addresses)
    : lookup(host, options, callback as never)) as typeof dns.lookup
