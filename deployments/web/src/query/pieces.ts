// Text of strangers, made harmless to look at: cut into pieces that are plain, marked, or stand for a character that
// would otherwise act (an escape sequence, a change of writing direction) or hide.
import type { Span } from './matches'

export interface Piece {
  text: string
  mark: boolean
  /** Set for a character that is shown by a sign of its own: its code, `U+001B`. */
  code?: string
}

// Controls but tab and newline; what changes the direction of writing; what is invisible (but the joiners that scripts
// and emoji need); separators of lines; a lone surrogate.
const ACTING =
  // eslint-disable-next-line no-control-regex -- controls are what is sought
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\p{Surrogate}/gu

/** As in source code, and not Unicode's control pictures, which many fonts lack. */
function shown(code: number): string {
  const hex = code.toString(16)
  return code < 0x100 ? `\\x${hex.padStart(2, '0')}` : `\\u${hex.padStart(4, '0')}`
}

/** Cut `text`; `spans` are sorted and do not overlap. */
export function pieces(text: string, spans: readonly Span[] = []): Piece[] {
  const result: Piece[] = []
  let at = 0
  for (const span of spans) {
    cut(text.slice(at, span.from), false, result)
    cut(text.slice(span.from, span.to), true, result)
    at = span.to
  }
  cut(text.slice(at), false, result)
  return result
}

function cut(text: string, mark: boolean, result: Piece[]): void {
  let at = 0
  for (const acting of text.matchAll(ACTING)) {
    if (acting.index > at) result.push({ text: text.slice(at, acting.index), mark })
    const code = acting[0].codePointAt(0) ?? 0
    result.push({ text: shown(code), mark, code: `U+${code.toString(16).toUpperCase().padStart(4, '0')}` })
    at = acting.index + acting[0].length
  }
  if (at < text.length) result.push({ text: text.slice(at), mark })
}
