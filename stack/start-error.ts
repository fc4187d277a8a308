/** The reason why the stack cannot start. */

/** The stack cannot start; the message is one line. */
export class StartError extends Error {
  override name = 'StartError'
}
