// Which parts of a message a query has found, to mark them. A help for the eye: what matches is the server's decision,
// and a pattern that JavaScript reads differently, or too slowly, is left unmarked.
import { tokens, unquote } from './tokens'

export interface Span {
  from: number
  to: number
}

/** Characters of a message that regexes are tried on: JavaScript's matcher backtracks, RE2 does not. */
const REGEX_CHARS = 1_000
/** Marks in one message: beyond, nobody sees them apart. */
const MAX_SPANS = 200
/** With more open repetitions, or a repeated group, a pattern can take time that grows beyond all bounds. */
const MAX_REPETITIONS = 2

export type Marker = (text: string) => Span[]

const NOTHING: Span[] = []

/** Make the marker of a query, once for all its rows. */
export function markerOf(query: string): Marker {
  const patterns: { pattern: RegExp; chars: number }[] = []
  for (const token of tokens(query)) {
    if (token.negated || (token.field !== undefined && token.field !== 'message')) continue
    const pattern = patternOf(token.kind, token.text)
    if (pattern) patterns.push({ pattern, chars: token.kind === 'phrase' ? Infinity : REGEX_CHARS })
  }
  if (patterns.length === 0) return () => NOTHING
  return (text) => {
    const spans: Span[] = []
    for (const { pattern, chars } of patterns) {
      pattern.lastIndex = 0
      const part = text.length > chars ? text.slice(0, chars) : text
      for (let found = pattern.exec(part); found && spans.length < MAX_SPANS; found = pattern.exec(part)) {
        if (found[0] === '') pattern.lastIndex += 1
        else spans.push({ from: found.index, to: found.index + found[0].length })
      }
    }
    return united(spans)
  }
}

function patternOf(kind: string, text: string): RegExp | null {
  if (kind === 'phrase') return plain(unquote(text), 'gu')
  if (kind === 'word') {
    const inner = text.replace(/^\*+|\*+$/g, '')
    return inner === '' ? null : plain(inner, 'giu', true)
  }
  if (kind !== 'regex') return null
  const ignoreCase = text.endsWith('i') && text.at(-2) === '/'
  const source = text.slice(1, ignoreCase ? -2 : -1)
  const repetitions = source.match(/(?<!\\)(?:[*+]|\{\d+,)/g)?.length ?? 0
  if (repetitions > MAX_REPETITIONS || /\)(?:[*+]|\{)/.test(source)) return null
  try {
    return new RegExp(source, ignoreCase ? 'giu' : 'gu')
  } catch {
    return null // RE2 takes more than JavaScript does
  }
}

function plain(text: string, flags: string, wildcards = false): RegExp | null {
  if (text === '') return null
  const pieces = (wildcards ? text.split(/\*+/) : [text]).map((piece) => piece.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'))
  if (pieces.length - 1 > MAX_REPETITIONS) return null
  try {
    return new RegExp(pieces.join('[\\s\\S]*?'), flags)
  } catch {
    return null // a lone surrogate
  }
}

function united(spans: Span[]): Span[] {
  spans.sort((one, other) => one.from - other.from)
  const result: Span[] = []
  for (const span of spans) {
    const last = result.at(-1)
    if (last && span.from <= last.to) last.to = Math.max(last.to, span.to)
    else result.push({ ...span })
  }
  return result
}
