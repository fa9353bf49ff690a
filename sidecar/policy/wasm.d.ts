/** The part of the WebAssembly JavaScript API that the engine uses; TypeScript ships it with the browser's library only. */
declare namespace WebAssembly {
  type ImportValue = Memory | Global | ((...args: number[]) => unknown)
  type ModuleImports = Record<string, ImportValue>
  interface ImportDescriptor {
    readonly module: string
    readonly name: string
    readonly kind: string
  }
  class Module {
    constructor(bytes: ArrayBuffer | ArrayBufferView)
    static imports(module: Module): readonly ImportDescriptor[]
  }
  class Instance {
    constructor(module: Module, imports: Record<string, ModuleImports>)
    readonly exports: Readonly<Record<string, unknown>>
  }
  class Memory {
    constructor(descriptor: { initial: number; maximum: number })
    readonly buffer: ArrayBuffer
    grow(pages: number): number
  }
  class Global {
    readonly value: unknown
  }
  interface WebAssemblyInstantiatedSource {
    readonly instance: Instance
    readonly module: Module
  }
  function compile(bytes: ArrayBufferView): Promise<Module>
}
