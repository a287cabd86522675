// Whether a query has stages behind it, as the server tells (`pipe_in` in `ess_ray/language/scanner.py`).
import { tokens } from './tokens'

/** A `|` between spaces that has the name of a stage behind it; others are text. */
const STAGE = /^\|\s+(?:stats|patterns|sort|top|limit|fields)(?![^\s|(])/

/** Where the first stage begins; null: there is none, and the query is for rows. */
export function pipeAt(query: string): number | null {
  const bar = tokens(query).find(
    ({ kind, from, text }) =>
      kind === 'word' && text === '|' && !/\S/.test(query[from - 1] ?? '') && STAGE.test(query.slice(from)),
  )
  return bar?.from ?? null
}
