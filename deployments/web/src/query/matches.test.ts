import { describe, expect, it } from 'vitest'

import { markerOf } from './matches'

function marked(query: string, text: string): string[] {
  return markerOf(query)(text).map(({ from, to }) => text.slice(from, to))
}

describe('markerOf', () => {
  it.each<[string, string, string[]]>([
    ['timeout', 'Timeout, TIMEOUT', ['Timeout', 'TIMEOUT']],
    ['"Timeout"', 'Timeout, TIMEOUT', ['Timeout']],
    ['time*out', 'time is out', ['time is out']],
    ['/user=\\d+/', 'user=17 user=x', ['user=17']],
    ['/USER/i', 'user', ['user']],
    ['a.b', 'a.b axb', ['a.b']],
    ['-timeout x', 'timeout x', ['x']],
    ['-(timeout OR -x)', 'timeout x', ['x']],
    ['level:ERROR', 'ERROR', []],
    ['message:ERROR', 'ERROR', ['ERROR']],
    ['', 'anything', []],
    ['*', 'anything', []],
    ['conn connection', 'connection', ['connection']],
    ['/(/', 'a(b', []], // the server says what is wrong with it
    ['/x*/', 'axxb', ['xx']],
  ])('%s in %s', (query, text, expected) => {
    expect(marked(query, text)).toEqual(expected)
  })

  it('leaves patterns alone that could run for ever', () => {
    const text = 'a'.repeat(40) + '!'
    expect(marked('/(a+)+$/', text)).toEqual([])
    expect(marked('/a*a*a*a*b/', text)).toEqual([])
  })

  it('never marks more than can be told apart', () => {
    expect(markerOf('a')('a,'.repeat(5_000)).length).toBeLessThanOrEqual(200)
  })
})
