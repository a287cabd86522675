// What every test needs: matchers for the page, a clean page afterwards, and what jsdom lacks of a browser.
import '@testing-library/jest-dom/vitest'

import { cleanup } from '@testing-library/react'
import { afterEach } from 'vitest'

afterEach(cleanup)

// jsdom knows no modal dialogs: here they open as plain ones.
HTMLDialogElement.prototype.showModal = function () {
  this.open = true
}
HTMLDialogElement.prototype.close = function () {
  this.open = false
}

// jsdom lays nothing out: everything measures nothing, and stays so.
class NoResizes implements ResizeObserver {
  observe() {
    // nothing changes its size
  }
  unobserve() {
    // see observe
  }
  disconnect() {
    // see observe
  }
}
globalThis.ResizeObserver = NoResizes
