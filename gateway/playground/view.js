/** Builds elements, reports results and errors, and shows times. */

/** An element with attributes and children; text is never parsed as HTML. */
export function element(name, attributes, ...children) {
  const node = document.createElement(name)
  for (const [attribute, value] of Object.entries(attributes)) node.setAttribute(attribute, value)
  node.append(...children)
  return node
}

export const byId = (id) => document.getElementById(id)

/** Announces the result of an action. */
export function report(text, { failed = false } = {}) {
  const status = byId('status')
  status.classList.toggle('failed', failed)
  status.textContent = text
}

/** Announces the problem of a response, and puts the errors of fields beside the fields of the form. */
export function reportProblem({ status, body }, form) {
  const { title = 'Error', detail = '', errors = [] } = body ?? {}
  const rest = errors.filter((error) => !(form && markField(form, error)))
  const texts = rest.map((error) => ` ${error.field}: ${error.detail}`)
  report(`${status || ''} ${title}. ${detail}${texts.join('')}`.trim(), { failed: true })
  form?.querySelector('[aria-invalid="true"]')?.focus()
}

/** @returns whether the form has the field */
function markField(form, { field, detail }) {
  const input = form.elements.namedItem(field)
  if (!(input instanceof HTMLInputElement)) return false
  const id = `${input.id}-error`
  input.setAttribute('aria-invalid', 'true')
  input.setAttribute('aria-describedby', id)
  byId(id)?.remove()
  input.after(element('p', { id, class: 'error' }, detail))
  return true
}

export function clearErrors(form) {
  for (const error of form.querySelectorAll('.error')) error.remove()
  for (const input of form.querySelectorAll('[aria-invalid]')) {
    input.removeAttribute('aria-invalid')
    input.removeAttribute('aria-describedby')
  }
}

const units = [
  ['d', 86_400],
  ['h', 3600],
  ['min', 60],
  ['s', 1]
]

/** The time until a moment, such as `29 d 23 h 59 min 58 s`. */
export function timeUntil(moment, now = Date.now()) {
  let seconds = Math.max(0, Math.floor((new Date(moment).getTime() - now) / 1000))
  const parts = []
  for (const [unit, size] of units) {
    const count = Math.floor(seconds / size)
    seconds -= count * size
    if (count > 0 || parts.length > 0 || unit === 's') parts.push(`${count} ${unit}`)
  }
  return parts.join(' ')
}

/** Counts the lifetimes on the page down, once a second. */
export function countDown() {
  for (const node of document.querySelectorAll('[data-expires-at]')) {
    node.textContent = `Ends in ${timeUntil(node.dataset.expiresAt)}`
  }
}

setInterval(countDown, 1000)
