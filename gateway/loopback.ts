/** Names and addresses that only programs of the same machine reach. */

/** Whether a host is an address or the name of this machine alone. */
export function isLoopbackHost(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host)
}
