// Adds a term to a query, or its negation, quoted as the language wants it.
import { tokens, unquote, type Token } from './tokens'

/** The columns of an event, ours with their prefix; any other name is an attribute's. */
export const COLUMNS = [
  'timestamp',
  'level',
  'service',
  'host',
  'message',
  'trace_id',
  'span_id',
  'id',
  'severity_number',
  '_ess.observed_timestamp',
  '_ess.vnode',
  '_ess.offset',
  '_ess.row',
  '_ess.log_id',
] as const

const NAME = /^[\p{L}_@][\p{L}\p{M}\p{N}_.\-/@]*$/u
/** Values that may stand without quotes: nothing in them means anything to the language. */
const BARE = /^[\p{L}\p{N}_][\p{L}\p{N}_.:@#%&+,;=/-]*$/u
const PREFIX = 'attributes.'

/** The name of an attribute, which no column has; null for the empty key, which the language cannot name. */
export function attributeField(key: string): string | null {
  if (key === '') return null
  const taken = key === 'attributes' || key === '_ess.event_id' || key.startsWith(PREFIX)
  return taken || (COLUMNS as readonly string[]).includes(key) ? PREFIX + key : key
}

/** A field's name as it stands before a colon: in quotes where it needs them. */
export function written(name: string): string {
  return NAME.test(name) ? name : quote(name)
}

export function quote(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}

/** `field:value`; a null value: the field is not there. */
export function fieldTerm(field: string, value: string | null): string {
  if (value === null) return `-${written(field)}:*`
  if (field === 'message') return quote(value)
  return `${written(field)}:${BARE.test(value) ? value : quote(value)}`
}

export function negated(term: string): string {
  return term.startsWith('-') ? term.slice(1) : `-${term}`
}

/** One factor of the outermost AND, and where it stands. */
interface Factor {
  from: number
  to: number
}

/**
 * Give `query` narrowed by `term`. A term that is there already is not doubled, and its negation makes place for it.
 */
export function addTerm(query: string, term: string): string {
  const found = tokens(query)
  const text = query.trim()
  if (text === '' || /^\*+$/.test(text)) return term
  const hasOr = found.some((token) => token.kind === 'operator' && token.text === 'OR' && token.depth === 0)
  if (hasOr) return `(${text}) ${term}`
  const parts = factors(found)
  const same = (part: Factor, wanted: string) => normal(query.slice(part.from, part.to)) === normal(wanted)
  if (parts.some((part) => same(part, term))) return query
  const opposite = parts.find((part) => same(part, negated(term)))
  if (opposite) return query.slice(0, opposite.from) + term + query.slice(opposite.to)
  return `${text} ${term}`
}

/** What the text of a term says, whichever way it is quoted. */
function normal(term: string): string {
  const stripped = term.replace(/^NOT\s+/, '-')
  return stripped.replace(/"(?:[^"\\]|\\[\s\S])*"$/, (phrase) => unquote(phrase))
}

function factors(found: Token[]): Factor[] {
  const parts: Factor[] = []
  let from: number | null = null
  for (const token of found) {
    if (token.depth > 0) continue
    if (token.kind === 'operator' && token.text !== 'NOT') continue
    from ??= token.from
    if (token.kind === 'minus' || token.kind === 'operator' || token.kind === 'field' || token.kind === 'open') continue
    parts.push({ from, to: token.to })
    from = null
  }
  return parts
}
