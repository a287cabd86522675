import { expect, it } from 'vitest'

import { wantedInStage } from './stages'

it.each<[string, string[]]>([
  ['a | ', ['stats', 'top']],
  ['a | st', ['stats']],
  ['a | stats ', ['count()', 'p95(']],
  ['a | stats count(), p', ['p95(']],
  ['a | stats count() ', ['as', 'by', 'every']],
  ['a | stats count() as n ', ['by', 'every']],
  ['a | stats count() by service ', ['every']],
  ['a | stats count() every ', ['5m']],
  [
    'a | stats count() as n, p95(ms) by service, "a b" every 5m | sort by ',
    ['n', 'p95(ms)', 'service', '"a b"', 'time'],
  ],
  ['a | stats count() by service | sort ', ['by']],
  ['a | stats count() by service | sort by service ', ['asc', 'desc']],
  ['a | stats count() by service | top 5 by s', ['count()', 'service']],
  ['a | stats count() | ', ['sort by', 'limit']],
  ['a | patterns | fields pattern, ', ['count', 'query']],
])('%j goes on with words', (before, expected) => {
  const wanted = wantedInStage(before)
  expect(wanted?.words).toEqual(expect.arrayContaining(expected))
  expect(before.slice(0, wanted?.from)).toMatch(/[\s,(]$/)
})

it.each([
  'a | stats p95(',
  'a | stats p95(du',
  'a | stats quantile(0.9, ',
  'a | stats count() by ',
  'a | stats count() by a, b',
])('%j goes on with a field', (before) => {
  expect(wantedInStage(before)).toMatchObject({ words: null })
})

it.each([
  '',
  'a',
  'level:ERR',
  '"a | st',
  'a |st',
  'a | stats count() as n',
  'a | limit 1',
  'a | stats count() by "a b',
])('%j wants nothing of a stage', (before) => {
  expect(wantedInStage(before)).toBeNull()
})
