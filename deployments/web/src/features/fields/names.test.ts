import { expect, it } from 'vitest'

import type { FieldCount } from '../../api/types'
import { addTerm } from '../../query/terms'
import { namedFields, share, valueTerms } from './names'

const FIELDS: FieldCount[] = [
  { name: 'region', kind: 'attribute', count: 90 },
  { name: 'message', kind: 'column', count: 100 },
  { name: 'level', kind: 'attribute', count: 3 },
  { name: 'user name', kind: 'attribute', count: 95 },
  { name: 'level', kind: 'column', count: 80 },
]

const find = (name: string, kind: FieldCount['kind'] = 'attribute') => {
  const field = namedFields(FIELDS, '').find((one) => one.name === name && one.kind === kind)
  if (!field) throw new Error(`no ${name}`)
  return field
}

it('columns come first, then what most events have', () => {
  expect(namedFields(FIELDS, '').map(({ shown }) => shown)).toEqual([
    'message',
    'level',
    'user name',
    'region',
    'attributes.level',
  ])
})

it('names are searched in any case', () => {
  expect(namedFields(FIELDS, ' EGI ').map(({ name }) => name)).toEqual(['region'])
})

it.each([
  ['eu-1', 'region:eu-1', '-region:eu-1'],
  ['two words', 'region:"two words"', '-region:"two words"'],
  ['a"b', 'region:"a\\"b"', '-region:"a\\"b"'],
  ['*', 'region:"*"', '-region:"*"'],
  ['', 'region:""', '-region:""'],
])('a value %j becomes a term', (value, only, without) => {
  expect(valueTerms(find('region'), value)).toEqual({ only, without })
})

it('an attribute that is named like a column is asked for as an attribute', () => {
  expect(valueTerms(find('level'), 'x')?.only).toBe('attributes.level:x')
})

it('a name that needs quotes has them in terms, and nowhere else', () => {
  expect(find('user name').shown).toBe('user name')
  expect(valueTerms(find('user name'), 'x')?.only).toBe('"user name":x')
})

it('filtering out what was filtered for turns the term around', () => {
  const terms = valueTerms(find('region'), 'eu')
  expect(addTerm(addTerm('timeout', terms?.only ?? ''), terms?.without ?? '')).toBe('timeout -region:eu')
})

it('values of what is different in every event are not listed', () => {
  expect(find('message', 'column').hasValues).toBe(false)
  expect(find('level', 'column').hasValues).toBe(true)
})

it.each([
  [1, 3, '33 %'],
  [1, 1000, '<1 %'],
  [0, 10, '0 %'],
  [10, 10, '100 %'],
  [1, 0, ''],
])('%d of %d is %j', (count, rows, text) => {
  expect(share(count, rows)).toBe(text)
})
