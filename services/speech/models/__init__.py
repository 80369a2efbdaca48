"""The speech models, and where each loader is."""

LOADERS = {
    "silero": "services.speech.models.silero:load",
    "wav2vec2": "services.speech.models.wav2vec2:load",
    "fake-aligner": "services.speech.models.fake_aligner:load",
    "whisper": "services.speech.models.whisper:load",
    "hibari": "services.speech.models.hibari:load",
    "kokoro": "services.speech.models.kokoro:load",
    "piper": "services.speech.models.piper:load",
    "vllm-omni": "services.speech.models.vllm_omni:load",
    "fake-speech-detector": "services.speech.models.fake_speech_detector:load",
    "vader": "services.speech.models.vader:load",
    "hownet": "services.speech.models.hownet:load",
    "acoustic-emotion": "services.speech.models.emotion:load",
    "fake-sentiment": "services.speech.models.fake_sentiment:load",
    "resemblyzer": "services.speech.models.resemblyzer:load",
    "fake-transcriber": "services.speech.models.fake_transcriber:load",
    "deepfilter": "services.speech.models.deepfilter:load",
    "spectral-gate": "services.speech.models.spectral_gate:load",
    "fake-enhancer": "services.speech.models.fake_enhancer:load",
    "fake-synthesizer": "services.speech.models.fake_synthesizer:load",
}
