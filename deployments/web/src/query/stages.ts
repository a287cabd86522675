// What can come next in the stages behind a query: their names, functions, fields, columns. (`ess_ray/language/pipes`)
import { pipeAt } from './pipe'

const STAGES = ['stats', 'patterns', 'sort by', 'top', 'limit', 'fields']
const FUNCTIONS = [
  'count()',
  'rate()',
  'count_distinct(',
  'sum(',
  'avg(',
  'min(',
  'max(',
  'p50(',
  'p95(',
  'p99(',
  'quantile(',
]
const PATTERN_COLUMNS = ['pattern', 'count', 'share', 'first', 'last', 'example', 'query', 'new', 'trend']
const WIDTHS = ['1m', '5m', '15m', '1h', '1d']
/** A bar between spaces, and what begins to be a stage behind it. */
const BAR = /(?:^|\s)\|\s+([a-z]*)$/
const MASK = '\u0001'
const QUOTED = /"(?:[^"\\]|\\[\s\S])*"?/g

/** What is wanted from `from` on: one of these words, or the name of a field. */
export type Wanted = { from: number; words: string[] } | { from: number; words: null }

/** What can come at the end of a text; null: nothing of a stage, so the query goes on, or nothing that can be named. */
export function wantedInStage(before: string): Wanted | null {
  // What is in quotes is one name, whatever it holds.
  const text = before.replace(QUOTED, (quoted) => MASK.repeat(quoted.length))
  if (text.endsWith(MASK)) return null
  const bar = BAR.exec(text)
  if (bar) return words(before.length - (bar[1] ?? '').length, STAGES)
  const at = pipeAt(before)
  if (at === null) return null
  const stages = text
    .slice(at)
    .split(/\s\|\s+|^\|\s+/)
    .slice(1)
  const stage = stages.at(-1) ?? ''
  const typed = (/[^\s,()|]*$/.exec(stage)?.[0] ?? '').length
  const head = stage.slice(0, stage.length - typed)
  return inStage(head, before.length - typed, stages.slice(0, -1), before.slice(at))
}

function inStage(head: string, from: number, earlier: string[], piped: string): Wanted | null {
  if (/^stats\s/.test(head)) return inStats(head, from)
  if (/^sort\s+$/.test(head)) return words(from, ['by'])
  if (/^top\s+\d+\s+$/.test(head)) return words(from, ['by'])
  if (/^(?:sort\s+by|fields|top\s+\d+\s+by)\s+(?:.*,\s*)?$/.test(head)) return words(from, columns(earlier, piped))
  if (/^sort\s+by\s+(?:.*,\s*)?\S+\s+$/.test(head)) return words(from, ['asc', 'desc'])
  return null
}

function inStats(head: string, from: number): Wanted | null {
  if (/\severy\s+$/.test(head)) return words(from, WIDTHS)
  if (/\severy\s/.test(head) || /\sas\s+$/.test(head)) return null
  if (/\(\s*(?:[\d.]+\s*,\s*)?$/.test(head)) return { from, words: null }
  if (/\sby\s+(?:[^\s,]+\s*,\s*)*$/.test(head)) return { from, words: null }
  if (/\sby\s/.test(head)) return words(from, ['every'])
  if (/^stats\s+$|,\s*$/.test(head)) return words(from, FUNCTIONS)
  return /\)\s+$/.test(head) ? words(from, ['as', 'by', 'every']) : words(from, ['by', 'every'])
}

/** The columns that the stages so far make, as the last `stats` or `patterns` names them. */
function columns(earlier: string[], piped: string): string[] {
  if (earlier.some((stage) => stage.startsWith('patterns'))) return PATTERN_COLUMNS
  const stats = /\|\s+stats\s+([^|]*)/.exec(piped)?.[1] ?? ''
  const [, made = '', by = '', every] = /^(.*?)(?:\s+by\s+(.*?))?(\s+every\s.*)?$/s.exec(stats.trim()) ?? []
  const functions = made.split(/,(?![^(]*\))/).map(
    (each) =>
      each
        .trim()
        .split(/\s+as\s+/)
        .at(-1) ?? '',
  )
  const groups = by.split(',').map((each) => each.trim())
  return [...functions, ...groups, ...(every === undefined ? [] : ['time'])].filter((name) => name !== '')
}

function words(from: number, found: string[]): Wanted {
  return { from, words: found }
}
