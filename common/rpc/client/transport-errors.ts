/** Errors of the transport, as the calling service should see them: not processed, or outcome unknown. */

import { Code, ConnectError, type Interceptor } from '@connectrpc/connect'
import { credentialRejected } from '#common/rpc/server/credential.ts'
import { ErrorInfoSchema } from '#gen/google/rpc/error_details_pb.ts'
import { isNotProcessed, notProcessed, outcomeUnknown } from './retry.ts'

/** Maps a transport error to the error that our own caller should see. */
export const mapErrors =
  (upstream: string): Interceptor =>
  (next) =>
  async (request) => {
    try {
      return await next(request)
    } catch (thrown) {
      const error = ConnectError.from(thrown)
      if (request.signal.aborted || isNotProcessed(error)) throw error
      if (isRejectedByPeer(error)) throw notProcessed(error)
      if (isConnectionFailure(error)) throw outcomeUnknown(error)
      if (isUnreachable(error))
        throw new ConnectError('The upstream is unreachable.', Code.Unavailable, undefined, undefined, error)
      switch (error.code) {
        // The peer died or reset the stream during the call; our own caller has not cancelled.
        case Code.Canceled:
        case Code.Aborted:
          throw outcomeUnknown(error)
        // Without a reason that the service's contract defines, the upstream rejected our own credential before the
        // handler: a mistake of an operator, not of the user.
        case Code.Unauthenticated:
        case Code.PermissionDenied:
          if (error.findDetails(ErrorInfoSchema).some(({ domain }) => domain === request.service.file.proto.package))
            throw error
          throw notProcessed(error, `${upstream} ${credentialRejected}.`)
        default:
          throw error
      }
    }
  }

/**
 * After GOAWAY, the peer refuses streams that it has not processed, and Node.js sends no new ones. `REFUSED_STREAM` is in the
 * message of @connectrpc/connect-node 2.2 (node-error.js); the codes are those of Node.js 24.
 */
function isRejectedByPeer(error: ConnectError): boolean {
  const { code } = (error.cause ?? {}) as { code?: string }
  return (
    /REFUSED_STREAM/.test(error.rawMessage) ||
    code === 'ERR_HTTP2_GOAWAY_SESSION' ||
    // The connection ended before it opened the stream.
    code === 'ERR_HTTP2_STREAM_CANCEL' ||
    // The stream ids of the connection are exhausted, after 2^30 streams; the breaker replaces it.
    code === 'ERR_HTTP2_OUT_OF_STREAMS'
  )
}

// Errors of an HTTP/2 connection or stream that ended; not those of wrong arguments.
const endedCodes =
  /^ERR_HTTP2_(SESSION_ERROR|STREAM_ERROR|ERROR|INVALID_SESSION|INVALID_STREAM|PING_CANCEL|TOO_MANY_\w+)$/

/**
 * The connection or the stream ended, or its ping timed out, before a response: the call may have been applied. The two
 * messages are those of @connectrpc/connect-node 2.2 (node-error.js, http2-session-manager.js).
 */
function isConnectionFailure({ rawMessage, cause }: ConnectError): boolean {
  const { code = '', syscall } = (cause ?? {}) as NodeJS.ErrnoException
  return (
    endedCodes.test(code) ||
    /^http\/2 stream closed with error code /.test(rawMessage) ||
    rawMessage === 'PING timed out' ||
    code === 'EPIPE' ||
    code === 'ECONNRESET' ||
    code === 'ERR_STREAM_DESTROYED' ||
    (code === 'ETIMEDOUT' && syscall !== 'connect')
  )
}

/** No route to the host, which connect-node does not map to a code. */
function isUnreachable({ cause }: ConnectError): boolean {
  return ['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN'].includes((cause as NodeJS.ErrnoException)?.code ?? '')
}
