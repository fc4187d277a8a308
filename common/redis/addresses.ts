/** Addresses of Redis servers, in the form of `redis.nodes`: `host:port`, with brackets around an IPv6 address. */

export function addressOf(host: string, port: unknown): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** `redis.url` with the address of another server: scheme, user and password are the same for all servers. */
export function addressUrl({ url }: { url: string }, address: string): string {
  const other = new URL(url || 'redis://any')
  other.host = address
  return other.href
}

/** The host of a connection, without brackets. */
export function hostOf(client: { options: { url?: string } }): string {
  return new URL(client.options.url ?? 'redis://any').hostname.replaceAll(/[[\]]/g, '')
}
