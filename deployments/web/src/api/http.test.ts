import { beforeEach, describe, expect, it } from 'vitest'

import { Problem, send, sendJson, withParameters } from './http'
import { currentKey, setKey, useKey } from './key'
import { json, serve } from './server'
import { renderHook } from '@testing-library/react'

beforeEach(() => setKey(null))

describe('send', () => {
  it('sends the key as a header, and only when there is one', async () => {
    const asked = serve({ 'GET /x': () => json({}) })
    await send('/x')
    setKey('ess_secret')
    await send('/x')
    expect(asked.map(({ headers }) => headers.get('Authorization'))).toEqual([null, 'Bearer ess_secret'])
    expect(asked.map(({ path }) => path).join()).not.toContain('ess_secret')
  })

  it('raises the problem that the server tells, with its position', async () => {
    serve({ 'POST /x': () => json({ title: 'Bad query', status: 400, detail: 'close it', position: 3 }, 400) })
    const failed = sendJson('/x', { method: 'POST', body: {} })
    await expect(failed).rejects.toMatchObject({ status: 400, title: 'Bad query', message: 'close it', position: 3 })
  })

  it('makes a problem of a page that a proxy sent, and of no answer at all', async () => {
    serve({ 'GET /x': () => new Response('<h1>Bad gateway</h1>', { status: 502 }) })
    await expect(send('/x')).rejects.toMatchObject({ status: 502 })
    serve({})
    await expect(send('/x')).rejects.toBeInstanceOf(Problem)
    await expect(send('/x')).rejects.toMatchObject({ status: 0 })
  })

  it('has a key asked for after 401, but not when another one was given meanwhile', async () => {
    const { result, rerender } = renderHook(() => useKey())
    serve({ 'GET /x': () => json({ title: 'Unauthorized' }, 401) })
    await expect(send('/x')).rejects.toMatchObject({ status: 401 })
    rerender()
    expect(result.current.wanted).toBe(true)
    setKey('old')
    const late = send('/x')
    setKey('new')
    await expect(late).rejects.toMatchObject({ status: 401 })
    rerender()
    expect(result.current).toMatchObject({ key: 'new', wanted: false })
  })
})

it('keeps the key in this tab alone', () => {
  setKey('ess_secret')
  expect(sessionStorage.getItem('ess-key')).toBe('ess_secret')
  expect(JSON.stringify(localStorage)).not.toContain('ess_secret')
  setKey(null)
  expect(sessionStorage.getItem('ess-key')).toBeNull()
  expect(currentKey()).toBeNull()
})

it('leaves out parameters that are not given, and encodes the others', () => {
  expect(withParameters('/x', { query: 'a & b', end: undefined, top: 5 })).toBe('/x?query=a+%26+b&top=5')
  expect(withParameters('/x', {})).toBe('/x')
})
