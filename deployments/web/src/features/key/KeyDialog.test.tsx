import { render, screen } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { beforeEach, expect, it } from 'vitest'

import { send } from '../../api/http'
import { currentKey, setKey } from '../../api/key'
import { json, serve } from '../../api/server'
import { KeyDialog } from './KeyDialog'

beforeEach(() => setKey(null))

it('asks for a key after 401, and sends it from then on', async () => {
  const asked = serve({
    'GET /x': ({ headers }) =>
      headers.get('Authorization') === 'Bearer ess_good' ? json({}) : json({ title: 'Unauthorized' }, 401),
  })
  render(<KeyDialog />)
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
  serve({ 'GET /x': () => json({ title: 'Unauthorized' }, 401) })
  render(<KeyDialog />)
  await expect(send('/x')).rejects.toMatchObject({ status: 401 })
  await userEvent.click(await screen.findByRole('button', { name: 'Forget the key' }))
  expect(currentKey()).toBeNull()
  expect(screen.queryByRole('dialog')).toBeNull()
})
