import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { act, renderHook } from '@testing-library/react'
import type { ReactNode } from 'react'
import { afterEach, expect, it } from 'vitest'

import { setKey } from '../../api/key'
import { json, serve } from '../../api/server'
import { USUAL } from '../../view/view'
import { useLookup } from './useLookup'

afterEach(() => setKey(null))

it('names and values are asked for once, and anew for another key, which may be of another tenant', async () => {
  const asked = serve({
    'GET /search/v1/fields?': () => json({ fields: [], rows: 0, complete: true, incomplete: [] }),
    'GET /search/v1/fields/host/values': () =>
      json({ values: [], distinct: 0, rows: 0, complete: true, incomplete: [] }),
  })
  const client = new QueryClient()
  const wrapper = ({ children }: { children: ReactNode }) => (
    <QueryClientProvider client={client}>{children}</QueryClientProvider>
  )
  const { result } = renderHook(() => useLookup(USUAL), { wrapper })
  const look = async () => {
    await result.current.fields()
    await result.current.values('host', 'w')
  }
  await look()
  await look()
  expect(asked).toHaveLength(2)
  act(() => setKey('ess_other'))
  await look()
  expect(asked).toHaveLength(4)
})
