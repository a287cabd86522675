// Parts of the page that are loaded later: tried again where one is lost on its way, and where the system has another
// version of the page by now, the page is loaded again, once.

/** Between two tries: a system that was started again answers within a minute, a network that dropped one sooner. */
const PAUSES_MS = [500, 2_000, 6_000]
/** The version for which this tab has loaded the page again. */
const STORAGE = 'ess-reloaded-for'

/** What surrounds the page; tests bring their own. */
export interface Surroundings {
  pause: (ms: number) => Promise<void>
  /** The script that this page began with: it has a hash of all of them in its name. */
  ownVersion: () => string | null
  /** The one that the page would begin with now; null: the system does not say. */
  servedVersion: () => Promise<string | null>
  reload: () => void
  /** Whether something would be lost by loading the page again. */
  busy: () => boolean
}

/** A part cannot be had. Loading the page again is all that is left. */
export class PartLost extends Error {
  constructor(readonly newer: boolean) {
    super(
      newer
        ? 'The system has a new version of this page.'
        : 'A part of this page could not be loaded: the system, or the way to it, is not there just now.',
    )
    this.name = 'PartLost'
  }
}

/**
 * Load a part with `load`, which is `() => import(...)`. Raises PartLost; never ends where the page is loaded again,
 * since what would be shown is gone in a moment.
 */
export async function loadPart<T>(load: () => Promise<T>, around: Surroundings = BROWSER): Promise<T> {
  for (const pauseMs of [...PAUSES_MS, null]) {
    try {
      return await load()
    } catch {
      // What it failed of does not matter: only whether there is another page by now.
      const served = await around.servedVersion()
      const newer = served !== null && served !== around.ownVersion()
      if (newer && !around.busy() && remember(served)) {
        around.reload()
        return new Promise<never>(() => undefined)
      }
      if (newer || pauseMs === null) throw new PartLost(newer)
      await around.pause(pauseMs)
    }
  }
  throw new PartLost(false)
}

/** Tells whether it was not remembered yet. Where nothing can be, the page must not load itself again and again. */
function remember(version: string): boolean {
  try {
    if (sessionStorage.getItem(STORAGE) === version) return false
    sessionStorage.setItem(STORAGE, version)
    return true
  } catch {
    return false
  }
}

const SCRIPT = /<script\b[^>]*\bsrc="([^"]+)"/

const BROWSER: Surroundings = {
  pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  ownVersion: () => document.querySelector('script[type="module"][src]')?.getAttribute('src') ?? null,
  servedVersion: async () => {
    try {
      const answer = await fetch('/', { cache: 'no-store' })
      return answer.ok ? (SCRIPT.exec(await answer.text())?.[1] ?? null) : null
    } catch {
      return null
    }
  },
  reload: () => location.reload(),
  // A download under way asks before it is left: see downloads.ts.
  busy: () => !window.dispatchEvent(new Event('beforeunload', { cancelable: true })),
}
