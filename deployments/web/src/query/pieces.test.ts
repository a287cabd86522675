import { describe, expect, it } from 'vitest'

import { pieces } from './pieces'

describe('pieces', () => {
  it('leaves plain text as it is, newlines, tabs, scripts and emoji too', () => {
    const text = 'a\tb\nüber שלום 👩‍🚀'
    expect(pieces(text)).toEqual([{ text, mark: false }])
  })

  it.each<[string, string, string]>([
    ['an escape', '\u001b', '\\x1b'],
    ['a null', '\u0000', '\\x00'],
    ['a carriage return', '\r', '\\x0d'],
    ['a delete', '\u007f', '\\x7f'],
    ['a C1 control', '\u009b', '\\x9b'],
    ['a right-to-left override', '\u202e', '\\u202e'],
    ['an isolate', '\u2066', '\\u2066'],
    ['a mark', '\u200f', '\\u200f'],
    ['a zero-width space', '\u200b', '\\u200b'],
    ['a byte order mark', '\ufeff', '\\ufeff'],
    ['a line separator', '\u2028', '\\u2028'],
    ['a lone surrogate', '\ud800', '\\ud800'],
  ])('shows %s by a sign', (_, character, sign) => {
    const [before, shown, after] = pieces(`a${character}b`)
    expect([before?.text, shown?.text, after?.text]).toEqual(['a', sign, 'b'])
    expect(shown?.code).toMatch(/^U\+[0-9A-F]{4}$/)
  })

  it('keeps marks and signs together', () => {
    expect(pieces('x\u001b[31mred', [{ from: 0, to: 3 }])).toEqual([
      { text: 'x', mark: true },
      { text: '\\x1b', mark: true, code: 'U+001B' },
      { text: '[', mark: true },
      { text: '31mred', mark: false },
    ])
  })
})
