package server

// RaceDetector tells whether the tests run with it.
const RaceDetector = raceDetector
