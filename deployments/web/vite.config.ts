// Builds the page into `dist`, which `deployments/ui.py` serves. In development (`npm run dev`) requests for data go to
// a running system: ESS_URL, by default http://127.0.0.1:8000.
import react from '@vitejs/plugin-react'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import { defineConfig, type Plugin } from 'vitest/config'

const COMPRESSED = /\.(?:js|css|svg)$/

/** Puts `.br` and `.gz` beside every asset: made once, with the slowest and smallest settings. */
function compressed(): Plugin {
  return {
    name: 'compressed',
    apply: 'build',
    async writeBundle(options) {
      const folder = join(options.dir ?? 'dist', 'assets')
      for (const name of (await readdir(folder)).filter((one) => COMPRESSED.test(one))) {
        const body = await readFile(join(folder, name))
        const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY } }
        await writeFile(join(folder, `${name}.br`), await promisify(brotliCompress)(body, quality))
        await writeFile(join(folder, `${name}.gz`), await promisify(gzip)(body, { level: 9 }))
      }
    },
  }
}

const system = process.env['ESS_URL'] ?? 'http://127.0.0.1:8000'

export default defineConfig({
  plugins: [react(), compressed()],
  // Inlined assets would be data: addresses, which the content security policy allows for images alone.
  // One style sheet: a part whose own was lost would be shown without it when it is tried again.
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 900,
  },
  server: { proxy: { '/search': system, '/push': system } },
  test: { environment: 'jsdom', setupFiles: ['src/testing.ts'], restoreMocks: true, unstubGlobals: true },
})
