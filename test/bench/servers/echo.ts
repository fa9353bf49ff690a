import { chmodSync } from 'node:fs'
import { parseArgs } from 'node:util'
import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js'
import { AuthorizerService } from '../../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'

// The floor: what grpc-js costs by itself. Takes the same questions and answers with as many bytes as an
// answer has; it decodes, decides and encodes nothing.

const { values } = parseArgs({ options: { socket: { type: 'string' }, bytes: { type: 'string' } } })
const { socket = '', bytes = '0' } = values
const answerBytes = Number(bytes)

const same = (message: Buffer): Buffer => message
const raw = {
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
}
const service = {
  check: { ...AuthorizerService.check, ...raw },
  checkStream: { ...AuthorizerService.checkStream, ...raw },
}
const server = new Server({ 'grpc.enable_channelz': 0 })
server.addService(service, {
  check(call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) {
    reply(null, call.request.subarray(0, answerBytes))
  },
  checkStream(call: ServerDuplexStream<Buffer, Buffer>) {
    // The id comes first in a question and in an answer.
    call.on('data', (message: Buffer) => call.write(message.subarray(0, answerBytes)))
    call.on('end', () => call.end())
  },
})
server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) => {
  if (error) throw error
  chmodSync(socket, 0o660)
})
