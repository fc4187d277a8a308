/** The meaning of a failed TLS handshake, for operators. */

// Codes of Node.js 24 and OpenSSL 3.
const meanings: [codes: RegExp, meaning: string][] = [
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, 'its certificate is for another host'],
  [/^CERT_HAS_EXPIRED$/, 'its certificate has expired'],
  [/^CERT_NOT_YET_VALID$/, 'its certificate is not valid yet'],
  [/^(UNABLE_TO_|SELF_SIGNED_CERT|DEPTH_ZERO_SELF_SIGNED|CERT_UNTRUSTED)/, 'its certificate is of an unknown CA'],
  [
    /^ERR_SSL_.*ALERT_(BAD_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA|HANDSHAKE_FAILURE)$/,
    'it rejects the client certificate'
  ],
  [/^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)$/, 'it responds without TLS']
]

/** @param code the code of the error; undefined if the failure is none of TLS */
export function tlsFailure(code: unknown): string | undefined {
  return typeof code === 'string' ? meanings.find(([codes]) => codes.test(code))?.[1] : undefined
}
