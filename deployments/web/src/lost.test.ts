import { beforeEach, expect, it, vi } from 'vitest'

import { loadPart, PartLost, type Surroundings } from './lost'

const part = { default: 'the part' }

function lostTimes(times: number) {
  const load = vi.fn(() => Promise.resolve(part))
  for (let lost = 0; lost < times; lost += 1) load.mockRejectedValueOnce(new TypeError('Failed to fetch'))
  return load
}

function around(more: Partial<Surroundings> = {}) {
  const pauses: number[] = []
  return {
    pauses,
    pause: (ms: number) => {
      pauses.push(ms)
      return Promise.resolve()
    },
    ownVersion: () => '/assets/index-old.js',
    servedVersion: () => Promise.resolve<string | null>('/assets/index-old.js'),
    reload: vi.fn(),
    busy: () => false,
    ...more,
  }
}

const newer = () => Promise.resolve('/assets/index-new.js')

beforeEach(() => sessionStorage.clear())

it('tries a lost part again, ever later', async () => {
  const load = lostTimes(3)
  const here = around()
  await expect(loadPart(load, here)).resolves.toBe(part)
  expect(load).toHaveBeenCalledTimes(4)
  expect(here.pauses).toHaveLength(3)
  expect(here.pauses).toEqual([...here.pauses].sort((a, b) => a - b))
  expect(here.reload).not.toHaveBeenCalled()
})

it.each([
  ['the same version', () => Promise.resolve('/assets/index-old.js')],
  ['nothing', () => Promise.resolve(null)],
])('says so in the end where the system has %s', async (_, servedVersion) => {
  const load = lostTimes(100)
  const here = around({ servedVersion })
  await expect(loadPart(load, here)).rejects.toMatchObject({ name: 'PartLost', newer: false })
  expect(load).toHaveBeenCalledTimes(4)
  expect(here.reload).not.toHaveBeenCalled()
})

it('loads the page again for a new version, once', async () => {
  const here = around({ servedVersion: newer })
  const ended = vi.fn()
  void loadPart(lostTimes(100), here).then(ended, ended)
  await vi.waitFor(() => expect(here.reload).toHaveBeenCalledTimes(1))
  expect(ended).not.toHaveBeenCalled()
  // The page is there again, and the part is not, although the version is said to be another one.
  await expect(loadPart(lostTimes(100), here)).rejects.toEqual(new PartLost(true))
  expect(here.reload).toHaveBeenCalledTimes(1)
})

it('leaves it to its reader where something would be lost', async () => {
  const here = around({ servedVersion: newer, busy: () => true })
  await expect(loadPart(lostTimes(100), here)).rejects.toMatchObject({ newer: true })
  expect(here.reload).not.toHaveBeenCalled()
})

it('never loads the page again and again where nothing can be remembered', async () => {
  vi.spyOn(Storage.prototype, 'setItem').mockImplementation(() => {
    throw new DOMException('no storage', 'SecurityError')
  })
  const here = around({ servedVersion: newer })
  await expect(loadPart(lostTimes(100), here)).rejects.toMatchObject({ newer: true })
  expect(here.reload).not.toHaveBeenCalled()
})
