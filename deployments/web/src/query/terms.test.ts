import { describe, expect, it } from 'vitest'

import { addTerm, attributeField, fieldTerm, negated, quote } from './terms'
import { tokens } from './tokens'

describe('fieldTerm', () => {
  it.each<[string, string | null, string]>([
    ['level', 'ERROR', 'level:ERROR'],
    ['service', 'api gw', 'service:"api gw"'],
    ['service', 'api*', 'service:"api*"'],
    ['path', '/etc/x/', 'path:"/etc/x/"'],
    ['url', 'http://x', 'url:http://x'],
    ['x', '[1 TO 2]', 'x:"[1 TO 2]"'],
    ['x', '>5', 'x:">5"'],
    ['x', '-1', 'x:"-1"'],
    ['x', '', 'x:""'],
    ['x', 'a(b)', 'x:"a(b)"'],
    ['x', 'C:\\dir "q"', 'x:"C:\\\\dir \\"q\\""'],
    ['x', ':x', 'x:":x"'],
    ['x', '//x', 'x:"//x"'],
    ['trace_id', null, '-trace_id:*'],
    ['user agent', null, '-"user agent":*'],
    ['user-agent', 'curl', 'user-agent:curl'],
    ['user agent', 'curl 8', '"user agent":"curl 8"'],
    ['a "b" \\', 'x', '"a \\"b\\" \\\\":x'],
    ['10:22', 'x', '"10:22":x'],
    ['हिन्दी', 'x', 'हिन्दी:x'],
    ['message', 'it failed', '"it failed"'],
  ])('writes %s = %s', (field, value, term) => {
    expect(fieldTerm(field, value)).toBe(term)
  })

  it('is one field and one value to the tokenizer, whatever the value', () => {
    for (const value of ['a b', '"', '\\', '/x/', '(', '*', '', 'AND', '-x', 'a:b', '[1', 'ü💥', '\n', '//x']) {
      const found = tokens(fieldTerm('name', value))
      expect(found).toHaveLength(2)
      expect(found[0]?.kind).toBe('field')
      expect(['word', 'phrase']).toContain(found[1]?.kind)
    }
  })
})

it.each<[string, string | null]>([
  ['region', 'region'],
  ['http.status', 'http.status'],
  ['host', 'attributes.host'], // a column has this name
  ['id', 'attributes.id'],
  ['attributes.x', 'attributes.attributes.x'],
  ['offset', 'offset'], // ours is _ess.offset
  ['event_id', 'event_id'],
  ['_ess.offset', 'attributes._ess.offset'],
  ['_ess.offset#2', '_ess.offset#2'],
  ['k8s-app', 'k8s-app'],
  ['1st', '1st'],
  ['', null],
])('names the attribute %s', (key, field) => {
  expect(attributeField(key)).toBe(field)
})

it('is one field and one value to the tokenizer, whatever the name', () => {
  for (const name of ['a b', '"', '\\', '/x/', '(', '*', 'AND', '-x', 'a:b', '[1', 'ü💥', '\n', '@x', 'a>5', 'C']) {
    const found = tokens(fieldTerm(name, 'value'))
    expect(found.map(({ kind, field }) => [kind, field])).toEqual([
      ['field', name],
      ['word', name],
    ])
  }
})

describe('addTerm', () => {
  it.each<[string, string, string]>([
    ['', 'level:ERROR', 'level:ERROR'],
    ['*', 'level:ERROR', 'level:ERROR'],
    ['timeout', 'level:ERROR', 'timeout level:ERROR'],
    [' timeout ', 'level:ERROR', 'timeout level:ERROR'],
    ['a OR b', 'level:ERROR', '(a OR b) level:ERROR'],
    ['(a OR b) c', 'x:1', '(a OR b) c x:1'],
    ['a level:ERROR b', 'level:ERROR', 'a level:ERROR b'],
    ['a level:"ERROR" b', 'level:ERROR', 'a level:"ERROR" b'],
    ['a -level:ERROR b', 'level:ERROR', 'a level:ERROR b'],
    ['a NOT level:ERROR b', 'level:ERROR', 'a level:ERROR b'],
    ['a level:ERROR b', '-level:ERROR', 'a -level:ERROR b'],
    ['"user agent":x b', '-"user agent":x', '-"user agent":x b'],
    ['ms>500 b', 'ms>500', 'ms>500 b'],
    ['x:(level:ERROR)', 'level:ERROR', 'x:(level:ERROR) level:ERROR'],
  ])('narrows %s by %s', (query, term, expected) => {
    expect(addTerm(query, term)).toBe(expected)
  })

  it('takes back what its opposite added', () => {
    const once = addTerm('timeout', 'service:api')
    expect(addTerm(once, negated('service:api'))).toBe('timeout -service:api')
    expect(addTerm(addTerm(once, negated('service:api')), 'service:api')).toBe(once)
  })
})

it('quotes what a phrase would take for its own', () => {
  expect(quote('say "hi" \\ bye')).toBe('"say \\"hi\\" \\\\ bye"')
})
