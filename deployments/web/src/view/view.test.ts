import { act, renderHook } from '@testing-library/react'
import { beforeEach, describe, expect, it } from 'vitest'

import { setKey } from '../api/key'
import { readView, searchHref, USUAL, useView, writeView, type View } from './view'

beforeEach(() => window.history.replaceState(null, '', '/'))

const OTHER: View = {
  query: 'level:ERROR "a & b" +x #1 100%',
  start: '2026-11-24T10:00:00Z',
  end: '2026-11-24T11:00:00.000Z',
  order: 'oldest',
  executor: 'lambda',
  zone: 'utc',
  wrap: true,
  columns: ['host', 'http.status'],
}

describe('the address', () => {
  it('is short when all is as usual', () => {
    expect(searchHref(USUAL)).toBe('/')
  })

  it.each([
    ['everything', OTHER],
    ['no columns', { ...USUAL, columns: [] }],
    ['one thing', { ...USUAL, query: '  spaces stay ' }],
  ])('says %s, and is read back', (_, view) => {
    expect(readView(writeView(view))).toEqual(view)
  })

  it.each(['?order=sideways', '?executor=', '?tz=mars', '?start=', '?end=now', '?end=', '?unknown=1', '?wrap=yes'])(
    'counts %s as usual',
    (search) => {
      expect(readView(search)).toEqual(USUAL)
    },
  )

  it('never has a key in it', () => {
    setKey('ess_secret')
    const { result } = renderHook(() => useView())
    act(() => result.current[1](OTHER))
    expect(window.location.href).not.toContain('ess_secret')
    setKey(null)
  })
})

describe('useView', () => {
  it('writes changes into the address, and reads them when one goes back', () => {
    const { result } = renderHook(() => useView())
    act(() => result.current[1]({ query: 'one' }))
    act(() => {
      result.current[1]({ executor: 'ray' })
      result.current[1]({ wrap: true })
    })
    expect(result.current[0]).toEqual({ ...USUAL, query: 'one', executor: 'ray', wrap: true })
    act(() => {
      window.history.replaceState(null, '', '/?q=before')
      window.dispatchEvent(new PopStateEvent('popstate'))
    })
    expect(result.current[0]).toEqual({ ...USUAL, query: 'before' })
  })
})
