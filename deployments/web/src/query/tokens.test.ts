import { describe, expect, it } from 'vitest'

import { tokens, unquote } from './tokens'

/** `kind:text`, with a dash before what is negated. */
function told(query: string): string[] {
  return tokens(query).map((token) => `${token.negated ? '-' : ''}${token.kind}:${token.text}`)
}

describe('tokens', () => {
  it.each<[string, string[]]>([
    ['', []],
    ['   ', []],
    ['timeout', ['word:timeout']],
    ['10:22:33', ['word:10:22:33']],
    ['http://x/y', ['word:http://x/y']],
    ['level:ERROR', ['field:level:', 'word:ERROR']],
    ['service:"api gw"', ['field:service:', 'phrase:"api gw"']],
    ['"a \\"b\\" c" d', ['phrase:"a \\"b\\" c"', 'word:d']],
    ['/user=\\d+7/ x', ['regex:/user=\\d+7/', 'word:x']],
    ['/a\\/b/i', ['regex:/a\\/b/i']],
    ['/etc/init.d', ['word:/etc/init.d']],
    ['// x', ['word://', 'word:x']],
    ['host:/web-\\d+/', ['field:host:', 'regex:/web-\\d+/']],
    ['severity_number:>=17', ['field:severity_number:', 'compare:>=17']],
    ['ms:[100 TO 500]', ['field:ms:', 'range:[100 TO 500]']],
    ['ms:{1 TO 5}', ['field:ms:', 'range:{1 TO 5}']],
    ['ms:[100', ['field:ms:', 'broken:[100']],
    ['{"key":"value"}', ['word:{"key":"value"}']],
    ['a AND b OR c', ['word:a', 'operator:AND', 'word:b', 'operator:OR', 'word:c']],
    ['and or', ['word:and', 'word:or']],
    ['--verbose', ['word:--verbose']],
    ['- a', ['word:-', 'word:a']],
    ['"open', ['broken:"open']],
    ['attributes.region:eu-1', ['field:attributes.region:', 'word:eu-1']],
    ['ünï:x', ['field:ünï:', 'word:x']],
    ['हिन्दी:x', ['field:हिन्दी:', 'word:x']],
    ['user-agent:curl', ['field:user-agent:', 'word:curl']],
    ['@timestamp:*', ['field:@timestamp:', 'word:*']],
    ['k8s.io/pod:x', ['field:k8s.io/pod:', 'word:x']],
    ['"user agent":curl', ['field:"user agent":', 'word:curl']],
    ['"a \\"b\\"":"c d"', ['field:"a \\"b\\"":', 'phrase:"c d"']],
    ['"user agent" curl', ['phrase:"user agent"', 'word:curl']],
    ['C:\\x', ['word:C:\\x']],
    ['fe80::1', ['word:fe80::1']],
    ['std::vector', ['word:std::vector']],
    ['2x:5', ['word:2x:5']],
    ['db01:5432', ['field:db01:', 'word:5432']],
    ['level=ERROR', ['word:level=ERROR']],
    ['level: ERROR', ['word:level:', 'word:ERROR']],
    ['level:', ['field:level:']],
    ['level:  ', ['field:level:']],
    ['ms>500', ['field:ms', 'compare:>500']],
    ['"the ms">=-1.5e3', ['field:"the ms"', 'compare:>=-1.5e3']],
    ['ms>5ms', ['word:ms>5ms']],
    ['x->y', ['word:x->y']],
    ['10>5', ['word:10>5']],
  ])('reads %s', (query, expected) => {
    expect(told(query)).toEqual(expected)
  })

  it.each<[string, string[]]>([
    ['-a b', ['-minus:-', '-word:a', 'word:b']],
    ['NOT a b', ['-operator:NOT', '-word:a', 'word:b']],
    ['NOT NOT a', ['-operator:NOT', 'operator:NOT', 'word:a']],
    ['-level:INFO a', ['-minus:-', '-field:level:', '-word:INFO', 'word:a']],
    ['-(a OR -b) c', ['-minus:-', '-open:(', '-word:a', '-operator:OR', 'minus:-', 'word:b', 'close:)', 'word:c']],
  ])('knows what is negated in %s', (query, expected) => {
    // Signs themselves carry no meaning of their own: what counts are the terms.
    const terms = (one: string[]) => one.filter((token) => /word:|phrase:/.test(token))
    expect(terms(told(query))).toEqual(terms(expected))
  })

  it('gives a field to the terms in its parentheses', () => {
    const terms = tokens('level:(ERROR OR WARN) x').filter((token) => token.kind === 'word')
    expect(terms.map(({ field, depth }) => [field, depth])).toEqual([
      ['level', 1],
      ['level', 1],
      [undefined, 0],
    ])
  })

  it('covers all but space, in order, whatever is typed', () => {
    const alphabet = [
      'a',
      '"',
      '/',
      '\\',
      '(',
      ')',
      '-',
      ':',
      ' ',
      '*',
      '[',
      ']',
      '<',
      'AND ',
      'level:',
      '@',
      '>5',
      '💥',
      '\n',
    ]
    let seed = 7
    const random = (below: number) => {
      seed = (seed * 48_271) % 2_147_483_647
      return seed % below
    }
    for (let round = 0; round < 2_000; round += 1) {
      const text = Array.from({ length: random(14) }, () => alphabet[random(alphabet.length)]).join('')
      let at = 0
      for (const token of tokens(text)) {
        expect(text.slice(at, token.from).trim()).toBe('')
        expect(token.to).toBeGreaterThan(token.from)
        at = token.to
      }
      expect(text.slice(at).trim()).toBe('')
    }
  })
})

it('names a quoted field by what the quotes say', () => {
  expect(tokens('"a \\"b\\"":c').map(({ field }) => field)).toEqual(['a "b"', 'a "b"'])
})

it('reads the two escapes of a phrase, and no other', () => {
  expect(unquote('"a \\"b\\" \\\\ \\n"')).toBe('a "b" \\ \\n')
})
