// Where a download goes: straight into a file where the browser has a way, else into memory and then into a file.

/** Bytes that a download may have in memory: tabs are ended by the browser for a few times as much. */
export const MAX_MEMORY_BYTES = 500 * 1024 * 1024

export interface Sink {
  /** Raises an error whose message says what to do. */
  write: (chunk: Uint8Array<ArrayBuffer>) => Promise<void>
  /** Everything is there: make it a file. */
  close: () => Promise<void>
  /** Leave nothing behind. */
  abort: () => Promise<void>
}

type Picker = (options: { suggestedName: string }) => Promise<FileSystemFileHandle>

function picker(): Picker | null {
  const known = (window as { showSaveFilePicker?: Picker }).showSaveFilePicker
  return known === undefined ? null : known.bind(window)
}

/** Whether downloads of any size can be written as they come. Not in every browser, and only over https or localhost. */
export function canWriteFiles(): boolean {
  return picker() !== null
}

/** To be called while a click is handled. Raises AbortError when the person chooses no file. */
export async function openSink(name: string): Promise<Sink> {
  const pick = picker()
  if (pick === null) return memorySink(name)
  const file = await pick({ suggestedName: name })
  const stream = await file.createWritable()
  return {
    write: (chunk) => stream.write(chunk),
    close: () => stream.close(),
    abort: () => stream.abort(), // the browser then keeps the file that was there, or an empty one
  }
}

export function memorySink(name: string, maxBytes = MAX_MEMORY_BYTES): Sink {
  let chunks: Uint8Array<ArrayBuffer>[] = []
  let bytes = 0
  return {
    write: (chunk) => {
      bytes += chunk.byteLength
      if (bytes > maxBytes) {
        const limit = Math.round(maxBytes / 2 ** 20)
        return Promise.reject(
          new Error(
            `it is larger than the ${limit} MiB that this browser can keep. Narrow the search, use a browser that ` +
              'writes files (Chrome, Edge), or ask the export address with curl',
          ),
        )
      }
      chunks.push(chunk)
      return Promise.resolve()
    },
    close: () => {
      const address = URL.createObjectURL(new Blob(chunks))
      chunks = []
      const link = document.createElement('a')
      link.href = address
      link.download = name
      link.click()
      setTimeout(() => URL.revokeObjectURL(address), REVOKE_MS)
      return Promise.resolve()
    },
    abort: () => {
      chunks = []
      return Promise.resolve()
    },
  }
}

/** Browsers read the address some time after the click. */
const REVOKE_MS = 60_000
