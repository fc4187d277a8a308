/** The caller's variables that every process may have: those of the operating system and of runtimes, no secrets. */

const names = 'PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TZ|LANG|LANGUAGE|NO_COLOR|FORCE_COLOR|CONFIG_FILE'
const prefixes = 'LC|LD|DYLD|MALLOC|NODE|UV|SSL_CERT|OPENSSL|JAVA|JDK'
const systemVariable = new RegExp(`^(${names}|(?:https?|no|all)_proxy|(?:${prefixes})_.+)$`, 'i')

/** A new environment with the variables of the system, and with the others that `isOwn` accepts. */
export function systemEnvironment(isOwn: (name: string) => boolean = () => false): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => systemVariable.test(name) || isOwn(name)))
}
