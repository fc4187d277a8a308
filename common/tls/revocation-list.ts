/** Reads the issuer and the next update of a list of revoked certificates (RFC 5280, 5.1), which Node.js cannot. */

/** One element of DER: its tag, and where its content begins and ends. */
interface Element {
  tag: number
  start: number
  end: number
}

function elementAt(der: Buffer, offset: number): Element {
  const tag = der.readUInt8(offset)
  const first = der.readUInt8(offset + 1)
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f
  const length = lengthBytes === 0 ? first : der.readUIntBE(offset + 2, lengthBytes)
  const start = offset + 2 + lengthBytes
  return { tag, start, end: start + length }
}

const [sequence, utcTime, generalizedTime] = [0x30, 0x17, 0x18]

function timeOf(der: Buffer, { tag, start, end }: Element): Date | undefined {
  const text = der.toString('latin1', start, end)
  const [, year, ...rest] =
    (tag === utcTime ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/ : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/).exec(
      text
    ) ?? []
  if (year === undefined) return undefined
  const [month = 1, day = 1, hour = 0, minute = 0, second = 0] = rest.map(Number)
  // RFC 5280, 4.1.2.5.1.
  const century = tag === generalizedTime ? 0 : Number(year) < 50 ? 2000 : 1900
  return new Date(Date.UTC(century + Number(year), month - 1, day, hour, minute, second))
}

/** The time after which OpenSSL rejects every certificate that the list is about; undefined if the list names none. */
export function nextUpdateOf(pem: string): Date | undefined {
  const der = derOf(pem)
  const times: (Date | undefined)[] = []
  for (const element of signedElements(der)) {
    if (element.tag === utcTime || element.tag === generalizedTime) times.push(timeOf(der, element))
    else if (times.length === 1) return undefined
    if (times.length === 2) break
  }
  return times[1]
}

/** The encoded name of the CA that has signed the list. */
export function issuerOf(pem: string): string {
  const der = derOf(pem)
  // The first sequence is the algorithm of the signature.
  const [, issuer] = [...signedElements(der)].filter(({ tag }) => tag === sequence)
  const { start, end } = issuer as Element
  return der.toString('hex', start, end)
}

function derOf(pem: string): Buffer {
  const [, encoded = ''] = /-----BEGIN X509 CRL-----([^-]+)-----END/.exec(pem) ?? []
  return Buffer.from(encoded, 'base64')
}

function* signedElements(der: Buffer): Generator<Element> {
  const signed = elementAt(der, elementAt(der, 0).start)
  for (let offset = signed.start; offset < signed.end; ) {
    const element = elementAt(der, offset)
    yield element
    offset = element.end
  }
}
