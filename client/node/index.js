'use strict'

const { Producer } = require('./producer')
const { Sessions } = require('./sessions')

module.exports = { Producer, Sessions, ...require('./errors') }
