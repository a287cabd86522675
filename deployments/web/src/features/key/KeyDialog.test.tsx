import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { render, screen } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { act } from 'react'
import { beforeEach, expect, it } from 'vitest'

import { send } from '../../api/http'
import { currentKey, readKeyAgain, setKey, wantKey } from '../../api/key'
import { json, serve } from '../../api/server'
import { KeyDialog } from './KeyDialog'

beforeEach(() => setKey(null))

const REFUSED = () => json({ title: 'Unauthorized' }, 401)

function show() {
  render(
    <QueryClientProvider client={new QueryClient({ defaultOptions: { queries: { retry: false } } })}>
      <KeyDialog />
    </QueryClientProvider>,
  )
}

it('asks for a key after 401, and sends it from then on', async () => {
  const asked = serve({
    'GET /x': ({ headers }) =>
      headers.get('Authorization') === 'Bearer ess_good' ? json({}) : json({ title: 'Unauthorized' }, 401),
  })
  show()
  expect(screen.queryByRole('dialog')).toBeNull()
  await expect(send('/x')).rejects.toMatchObject({ status: 401 })
  const input = await screen.findByLabelText('Key')
  expect(input).toHaveAttribute('type', 'password')
  await userEvent.type(input, '  ess_good {Enter}')
  expect(screen.queryByRole('dialog')).toBeNull()
  await send('/x')
  expect(asked.at(-1)?.headers.get('Authorization')).toBe('Bearer ess_good')
})

it('asks again for a key that is refused, and can forget it', async () => {
  setKey('ess_old')
  serve({ 'GET /x': REFUSED, 'GET /search/v1/key': REFUSED })
  show()
  await expect(send('/x')).rejects.toMatchObject({ status: 401 })
  await userEvent.click(await screen.findByRole('button', { name: 'Forget the key' }))
  expect(currentKey()).toBeNull()
  expect(screen.queryByRole('dialog')).toBeNull()
})

it('keeps a key for the tab alone, unless its owner says otherwise', async () => {
  serve({})
  show()
  act(() => wantKey(true))
  await userEvent.type(await screen.findByLabelText('Key'), 'ess_tab{Enter}')
  expect([sessionStorage.getItem('ess-key'), localStorage.getItem('ess-key')]).toEqual(['ess_tab', null])

  act(() => wantKey(true))
  await userEvent.click(await screen.findByRole('checkbox', { name: 'Keep it in this browser' }))
  expect(screen.getByText(/Whoever uses this browser uses this key/)).toBeInTheDocument()
  await userEvent.type(screen.getByLabelText('Key'), 'ess_stays{Enter}')
  expect([sessionStorage.getItem('ess-key'), localStorage.getItem('ess-key')]).toEqual([null, 'ess_stays'])

  act(readKeyAgain) // as a new tab does
  expect(currentKey()).toBe('ess_stays')
  act(() => wantKey(true))
  await userEvent.click(await screen.findByRole('button', { name: 'Forget the key' }))
  expect([sessionStorage.getItem('ess-key'), localStorage.getItem('ess-key')]).toEqual([null, null])
})

it('tells whose the key is', async () => {
  const key = { id: '0123456789ab', name: 'laptop', scopes: ['search', 'push'] }
  serve({ 'GET /search/v1/key': () => json({ tenant: 'shop', key }) })
  setKey('ess_shop')
  show()
  act(() => wantKey(true))
  expect(await screen.findByText('shop')).toBeInTheDocument()
  expect(screen.getByText(/\(laptop\) is for the tenant/)).toHaveTextContent(
    'shop: search, push. It is kept for this tab',
  )
})
