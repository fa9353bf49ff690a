// The sample application's database: invoices of two tenants, in memory.

export interface Invoice {
  readonly id: string
  readonly tenant: string
  readonly owner: string
  readonly status: 'draft' | 'sent' | 'paid'
  readonly visibility: 'private' | 'tenant'
  readonly amount: number
  memo: string
}

export interface InvoiceTable {
  find(id: string): Invoice | undefined
  remove(id: string): void
}

export function createInvoices(): InvoiceTable {
  const rows = new Map<string, Invoice>()
  const add = (row: Omit<Invoice, 'memo'>) => rows.set(row.id, { ...row, memo: '' })
  add({ id: 'a-1', tenant: 'acme', owner: 'alice', status: 'sent', visibility: 'private', amount: 1200 })
  add({ id: 'a-2', tenant: 'acme', owner: 'alice', status: 'sent', visibility: 'tenant', amount: 80 })
  add({ id: 'a-3', tenant: 'acme', owner: 'bob', status: 'draft', visibility: 'private', amount: 40 })
  add({ id: 'g-1', tenant: 'globex', owner: 'mallory', status: 'sent', visibility: 'tenant', amount: 900 })
  return { find: (id) => rows.get(id), remove: (id) => void rows.delete(id) }
}
